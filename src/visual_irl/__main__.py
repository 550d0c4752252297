"""The command `visual-irl`, which is also `python -m visual_irl`: it can be ended from its first moment on."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the verb that the command line names, see `visual_irl.cli`.

    Ctrl-C ends it with one line and exit code 130, SIGTERM with 143, also while what it is made of is still being loaded; none
    leaves a half-written file.
    """
    try:
        from visual_irl.evaluation.interruption import interruptible

        with interruptible():
            from visual_irl import cli

            cli.main()
    except KeyboardInterrupt as interrupt:
        print("interrupted; finished files were kept, unfinished ones were removed", file=sys.stderr)
        raise SystemExit(128 + (interrupt.args or (2,))[0]) from None  # 2: SIGINT, before the signals had a handler of ours


if __name__ == "__main__":
    main()
