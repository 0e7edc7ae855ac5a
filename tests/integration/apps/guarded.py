"""The ``faust`` command; a call of ours that blocks the event loop is an error.

Faust's stores are local and open their files as they do in plain Faust, also for us.
"""

from __future__ import annotations

from blockbuster import BlockBuster
from faust.cli.faust import cli

blockers = BlockBuster(scanned_modules="faust_s3")
for function in blockers.functions.values():
    function.can_block_in("faust/tables/base.py", {"_new_store_by_url"})
    function.can_block_in("faust/stores/rocksdb.py", {"_open_for_partition"})
    # Handing work to a thread takes a lock that others hold for microseconds.
    function.can_block_in("concurrent/futures/thread.py", {"submit", "_adjust_thread_count"})
    function.can_block_in("faust_s3/stores/transfer.py", {"submit"})
    function.can_block_in("faust_s3/stores/pool.py", {"submit"})
    function.can_block_in("concurrent/futures/_base.py", {"add_done_callback", "cancel"})
    function.can_block_in("coverage/collector.py", {"lock_data"})
blockers.activate()
cli()
