"""Kill campaigns: a real server is killed again and again under load, then its history is judged.

Run by `tests/flow/test_kill_campaign.py` and by `python -m tests.campaign`.
"""
