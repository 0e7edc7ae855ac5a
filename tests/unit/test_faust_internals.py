"""Faust is what we take it for."""

from __future__ import annotations

import importlib
import inspect
from hashlib import sha256

import faust
import pytest

from faust_s3 import connection, internals, membership

RELIED_ON = {**internals.RELIED_ON, **connection.RELIED_ON, **membership.RELIED_ON}

#: Digests of the source of what we rely on, in the versions that we know.
KNOWN = {
    "aiokafka.consumer.consumer:AIOKafkaConsumer.topics": {"adb0d6bfca2eb397"},
    "aiokafka.consumer.fetcher:Fetcher.fetched_records": {"be4348896b9b66af"},
    "aiokafka.consumer.group_coordinator:GroupCoordinator._heartbeat_routine": {"61d01028952239d0"},
    "aiokafka.consumer.subscription_state:SubscriptionState.fetch_context": {"ff2a654dca239cfe"},
    "faust.agents.agent:Agent._execute_actor": {"c750b828d2bda93e"},
    "faust.agents.agent:Agent._reply": {"b82ccd3d66ebd644"},
    "faust.agents.agent:Agent.channel_iterator": {"be84cf37710b5f02"},
    "faust.agents.replies:ReplyConsumer._reply_topic": {"918c3d9145be1b0f"},
    "faust.agents.replies:ReplyConsumer._start_fetcher": {"04d686ef89c42d83"},
    "faust.app._attached:Attachments.put": {"5bd66cb5a29dee8b"},
    "faust.app.base:App._on_partitions_revoked": {"d5c895bbe57dc73a"},
    "faust.app.base:App.consumer": {"354b140caceca03c"},
    "faust.app.base:App.maybe_start_producer": {"776ccefb9db5a370"},
    "faust.channels:Channel._send_now": {"285f13b8f42dc9ad"},
    "faust.channels:Channel.as_future_message": {"e41289c4fced443d"},
    "faust.channels:Channel.clone_using_queue": {"fb0b2fda455d9e30"},
    "faust.channels:Channel.queue": {"549dd774f3e314a7"},
    "faust.events:Event._attach": {"650a0728687a28d5"},
    "faust.events:Event.forward": {"0ea392d80ed00cec"},
    "faust.serializers.codecs:Codec.dumps": {"cf18c4ce2b00d8e6"},
    "faust.serializers.registry:Registry.dumps_value": {"42c1fc28dd371ead"},
    "faust.stores.base:SerializedStore.apply_changelog_batch": {"91933ccd33d90f66"},
    "faust.streams:Stream._py_aiter": {"3a48ee257a65435b"},
    "faust.streams:Stream.take": {"49a950b16eafeb84"},
    "faust.tables.base:Collection._new_changelog_topic": {"77bea64b59f79809"},
    "faust.tables.base:Collection._new_store_by_url": {"343a8125107d3f69"},
    "faust.tables.base:Collection.send_changelog": {"3dd3884e1b5fc0e1"},
    "faust.tables.manager:TableManager.changelog_queue": {"9c7f4cac57ef1706"},
    "faust.tables.manager:TableManager.on_partitions_revoked": {"382852adff42ab99"},
    "faust.tables.manager:TableManager.on_rebalance": {"2d2c23a07bf54328"},
    "faust.tables.recovery:Recovery._resume_streams": {"d986a6710c1aca98"},
    "faust.tables.recovery:Recovery.flush_buffers": {"6fa9c17f1071018c"},
    "faust.tables.recovery:Recovery.on_rebalance": {"aa4d997a1795ceae"},
    "faust.tables.recovery:Recovery.on_recovery_completed": {"6ef567acf072e46d"},
    "faust.topics:Topic.__init__": {"bd061fdd4ea3bb17"},
    "faust.topics:Topic._clone_args": {"3b27dccaa673fe39"},
    "faust.topics:Topic._compile_decode": {"6474178f8c211c05"},
    "faust.topics:Topic.derive_topic": {"f45344dad1b1b055"},
    "faust.topics:Topic.publish_message": {"4ce1cbc353047a36"},
    "faust.topics:Topic.send": {"723a74d7c6897101"},
    "faust.topics:Topic.send_soon": {"91a8b9ace5832c26"},
    "faust.transport.conductor:ConductorCompiler.build": {"837cf521368c1ee4"},
    "faust.transport.consumer:Consumer._commit_tps": {"a20e230b05ae8b15"},
    "faust.transport.consumer:Consumer._handle_attached": {"48efe89d6c633cf6"},
    "faust.transport.consumer:Consumer._new_offset": {"1d2c7ea89a7ad4f1"},
    "faust.transport.consumer:Consumer._wait_next_records": {"6218e1969a636b3f"},
    "faust.transport.consumer:Consumer.ack": {"5fcf41cf45153475"},
    "faust.transport.consumer:Consumer.commit": {"a354437baaa08bf8"},
    "faust.transport.consumer:Consumer.commit_and_end_transactions": {"892377824b11a2ee"},
    "faust.transport.consumer:Consumer.getmany": {"4b168d84882a70d6"},
    "faust.transport.consumer:Consumer.on_buffer_drop": {"4b57e8a418d5ad9c"},
    "faust.transport.consumer:Consumer.on_buffer_full": {"c8961679e0bcdce5"},
    "faust.transport.consumer:Consumer.on_partitions_revoked": {"d04b7ae72c6fc206"},
    "faust.transport.consumer:Consumer.resume_partitions": {"afe6b7c02a41d63c"},
    "faust.transport.consumer:Consumer.wait_empty": {"e4662fe24f094819"},
    "faust.transport.consumer:TransactionManager._tps_to_active_tpgs": {"59e139468f01a5eb"},
    "faust.transport.consumer:TransactionManager.on_rebalance": {"2c190b35003af25c"},
    "faust.transport.consumer:TransactionManager.send": {"b8d126be9f10fc69"},
    "faust.transport.drivers.aiokafka:AIOKafkaConsumerThread._fetch_records": {"39a2c6c79fc1455a"},
    "faust.transport.drivers.aiokafka:Producer.flush": {"36d0cb3615f65b01"},
    "faust.transport.drivers.aiokafka:Producer.key_partition": {"c713c4d7b421ecdf"},
    "faust.transport.drivers.aiokafka:credentials_to_aiokafka_auth": {"364c9c9c68523c50"},
    "faust.transport.drivers.aiokafka:server_list": {"5a13d9708b3ced16"},
    "faust.transport.producer:ProducerBuffer._send_pending": {"4a9d5f932b56bc68"},
    "faust.types.settings.base:SettingsRegistry.__getattribute__": {"fd25a90509683514"},
    "faust.types.settings.base:SettingsRegistry.__setattr__": {"fea86851c5eb13e9"},
    "mode.utils.queues:FlowControlQueue.clear": {"fa9a86f6b097c90f"},
    "mode.utils.queues:FlowControlQueue.put_nowait_enhanced": {"f1839f43dda3d2cf"},
    "mode.utils.queues:ThrowableQueue.empty": {"737285dcae32c653"},
    "mode.utils.queues:ThrowableQueue.get": {"57490d393d4147ff"},
}


def source_of(name: str) -> str:
    module, _, path = name.partition(":")
    found = importlib.import_module(module)
    for part in path.split("."):
        found = inspect.getattr_static(found, part)
    return inspect.getsource(found.fget if isinstance(found, property) else found)


def test_all_of_it_is_watched() -> None:
    """What is written down has a digest, and no digest is left over."""
    assert set(KNOWN) == set(RELIED_ON)


@pytest.mark.parametrize("name", RELIED_ON)
def test_faust_has_not_changed(name: str) -> None:
    """A new Faust is looked at where we depend on it, before users do."""
    digest = sha256(source_of(name).encode()).hexdigest()[:16]
    assert digest in KNOWN[name], (
        f"{name} has changed in Faust {faust.__version__}; faust_s3 relies on this: "
        f"{RELIED_ON[name]}. Read it, mend what no longer holds, and add {digest!r} to KNOWN"
    )
