"""What holds of a lake on this machine holds of one in an object store: the same tests, of the same door."""

import pytest

from tests.unit.core import test_storage as files
from tests.unit.core import test_storage_lock as locks
from tests.unit.core import test_storage_looks as looks
from tests.unit.core import test_storage_moves as moves

pytestmark = pytest.mark.extras

SAME = {
    files: [
        "test_what_is_not_there",
        "test_names_and_files_are_sorted_and_names_hides_what_is_hidden",
        "test_ranges_text_and_digest",
        "test_of_two_that_create_one_wins",
        "test_a_table_carries_its_metadata_and_appears_when_the_block_ends",
        "test_a_table_without_rows_is_a_table",
        "test_what_the_body_raises_passes_unchanged_and_leaves_nothing",
        "test_a_table_of_other_columns_is_the_callers_error",
        "test_a_damaged_table_is_never_read_as_another",
        "test_who_takes_batches_keeps_their_own_errors",
    ],
    looks: [
        "test_a_folder_that_is_put_in_another_s_place_has_another_mark",
        "test_the_sizes_of_a_file_and_of_all_below_a_folder",
        "test_an_empty_folder_is_removed_and_one_with_anything_in_it_is_not",
    ],
    moves: ["test_renaming_never_replaces_and_done_is_done", "test_sweeping_takes_what_is_hidden_and_nothing_else"],
    locks: [
        "test_another_window_is_free",
        "test_a_second_process_is_refused_and_told_who_holds_the_lock",
        "test_whether_a_lock_is_held_can_be_seen_without_taking_it",
        "test_who_waits_gets_the_lock_when_it_is_free",
        "test_a_process_cannot_take_its_own_lock_twice",
    ],
}
globals().update({name: getattr(module, name) for module, names in SAME.items() for name in names})
holder = locks.holder
