"""What faust_s3 costs, measured beside others on the same servers: ``tox run -e bench``."""
