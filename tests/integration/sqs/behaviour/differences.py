"""Where servers differ from what AWS documents: by server, then by test, what it does instead.

The test states what AWS documents; on that server it is expected to fail, and to be taken off this
list when it does not any more.
"""

from collections.abc import Mapping

DIFFERENCES: Mapping[str, Mapping[str, str]] = {
    "moto": {
        "test_a_bad_entry_fails_and_the_others_are_sent": "sends control characters",
        "test_a_bad_name_is_refused": "makes a FIFO queue of a name alone",
        "test_a_batch_has_an_entry": "changes the visibility of nothing",
        "test_a_batch_has_ten_entries_at_most": "checks the number of sends alone",
        "test_a_batch_may_have_one_message_twice": "takes equal handles for equal ids",
        "test_a_delay_out_of_range_is_refused": "takes negative delays",
        "test_a_deleted_message_cannot_be_hidden": "hides it",
        "test_a_fifo_queue_has_a_fifo_dead_letter_queue": "answers another error code",
        "test_a_fifo_queues_name_ends_in_fifo": "makes a FIFO queue of a name alone",
        "test_a_malformed_redrive_policy_is_refused": "answers another error code, or none",
        "test_a_message_received_too_often_goes_to_the_dead_letter_queue": (
            "does not give DeadLetterQueueSourceArn"
        ),
        "test_a_message_tells_its_group_its_id_and_its_number": "draws sequence numbers at random",
        "test_a_queue_tells_its_arn_and_when_it_was_made": "shows fractions of a second",
        "test_a_receive_out_of_range_is_refused": "takes negative visibility timeouts",
        "test_a_redrive_policy_must_name_a_queue": "answers another error code",
        "test_a_stale_handle_succeeds_and_the_message_stays": "deletes it by any of its handles",
        "test_a_visibility_timeout_out_of_range_is_refused": "takes negative visibility timeouts",
        "test_an_attribute_of_a_bad_name_is_refused": "takes any name",
        "test_an_attribute_that_is_none_is_refused": "takes any name",
        "test_an_empty_body_is_refused": "sends it",
        "test_an_empty_handle_is_missing": "calls it invalid",
        "test_an_expired_handle_deletes_nothing": "deletes the message",
        "test_an_expired_handle_hides_nothing": "hides the message again",
        "test_attributes_count_towards_a_messages_size": "measures the body alone",
        "test_attributes_out_of_range_are_refused": "takes some that are",
        "test_characters_outside_of_xml_are_refused": "sends them",
        "test_deduplication_may_go_by_group": "drops it in every group",
        "test_it_is_dropped_even_after_the_first_was_deleted": "forgets deleted messages",
        "test_more_than_ten_attributes_are_refused": "takes any number",
        "test_purging_deletes_every_message": "forgets the receipt handles too",
        "test_the_ids_of_a_batch_are_distinct": "checks those of two operations alone",
        "test_the_ids_of_a_batch_are_short_words": "takes other ids",
        "test_what_is_sent_again_within_five_minutes_is_dropped": "answers with a new MessageId",
    },
}

# What goes wrong there by chance, so that the test may hold.
BY_CHANCE = frozenset({("moto", "test_a_message_tells_its_group_its_id_and_its_number")})
