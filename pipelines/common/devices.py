"""What is known of devices: the peak of each, and which device a cloud instance carries."""

# Dense bf16 TFLOPS of one device, from the makers' data sheets, under the name that its driver gives it.
PEAKS = {
    "NVIDIA A100-SXM4-40GB": 312.0,
    "NVIDIA A100-SXM4-80GB": 312.0,
    "NVIDIA H100 80GB HBM3": 989.0,
    "NVIDIA H200": 989.0,
}
CARRIES = {  # instance -> its devices
    "p4d.24xlarge": "NVIDIA A100-SXM4-40GB",
    "p4de.24xlarge": "NVIDIA A100-SXM4-80GB",
    "p5.48xlarge": "NVIDIA H100 80GB HBM3",
    "p5e.48xlarge": "NVIDIA H200",
    "p5en.48xlarge": "NVIDIA H200",
}
