"""Line-art, mask and tag networks: speed beside released code, and how well they do: `python -m benchmarks.extractors`.

In: pictures and the weight store. Out: tables of speed and quality, a contact sheet of styles.
"""
