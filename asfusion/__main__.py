"""``python -m asfusion``: the command line, where scripts are not on the path."""

import sys

from asfusion.cli.commands import main

if __name__ == "__main__":
    sys.exit(main())
