"""What every test stands on: guards that nothing escapes, and real servers."""

pytest_plugins = ["tests.guards", "tests.servers"]
