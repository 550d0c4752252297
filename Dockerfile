# ROS 2 Jazzy with visual_irl and its nodes. The nodes see the project's environment beside the system's Python 3.12.
FROM ros:jazzy-ros-base

RUN apt-get update && apt-get install -y --no-install-recommends \
      python3-venv libegl1 libgl1 libgl1-mesa-dri libglib2.0-0t64 ros-jazzy-foxglove-bridge ros-jazzy-tf2-msgs \
      ros-jazzy-control-msgs ros-jazzy-xacro \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /visual_irl
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY src ./src
COPY urdf ./urdf
COPY launch ./launch
COPY models ./models
RUN python3 -m venv --system-site-packages /venv \
    && /venv/bin/pip install --no-cache-dir --constraint constraints.txt torch==2.13.0 \
    && /venv/bin/pip install --no-cache-dir --constraint constraints.txt --editable . \
    && /venv/bin/visual-irl models pull
COPY ros2_ws ./ros2_ws
RUN . /opt/ros/jazzy/setup.sh && . /venv/bin/activate && cd ros2_ws && python3 -m colcon build

ENV MUJOCO_GL=egl OMP_NUM_THREADS=1
COPY .ci/docker-entrypoint /docker-entrypoint
ENTRYPOINT ["/docker-entrypoint"]
