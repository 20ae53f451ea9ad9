"""In CI the random examples are the same in every run; elsewhere they are new each time."""

import os
import signal

from hypothesis import settings

settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell that began this in the background has it ignored, in all child processes, too.
    signal.signal(signal.SIGINT, signal.default_int_handler)
