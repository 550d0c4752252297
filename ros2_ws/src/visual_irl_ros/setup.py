"""Install the nodes of visual_irl_ros."""

from setuptools import setup

NODES = ("perception", "recorder", "mapper", "skill", "executor", "sim")

setup(
    name="visual_irl_ros",
    version="0.1.0",
    packages=["visual_irl_ros"],
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/visual_irl_ros"]),
        ("share/visual_irl_ros", ["package.xml"]),
        ("share/visual_irl_ros/config", ["config/fastdds_loopback.xml", "config/fastdds_pictures.xml"]),
    ],
    install_requires=["setuptools"],
    zip_safe=True,
    maintainer="The visual_irl authors",
    maintainer_email="visual-irl@example.org",
    description="Thin nodes around the Python package visual_irl.",
    license="Apache-2.0",
    entry_points={
        "console_scripts": [
            *(f"{name} = visual_irl_ros.{name}:main" for name in NODES),
            "bench = visual_irl_ros.bench:main",
        ]
    },
)
