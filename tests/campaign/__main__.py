"""The command of `scripts/campaign`.

It is not in the module `campaign`, which each forked process would then import again.
"""

import sys

from .campaign import main

sys.exit(main())
