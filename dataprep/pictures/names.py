"""How files of pictures are called: endings by which they are found, and the names that are shown to a person."""

SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".svg"),
    *(".apng", ".jfif", ".jpe", ".jif", ".dib", ".tif", ".tiff", ".avif", ".psd", ".psb"),
    *(".jp2", ".j2k", ".jpf", ".jpx"),
)
NAMES = "PNG, JPEG, WebP, BMP, GIF, SVG, TIFF, AVIF, JPEG 2000, PSD"  # of what is read, whatever it is called
