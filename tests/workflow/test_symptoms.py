"""What users meet, in their words, and the test that holds what is right: no row without a test that is there."""

from __future__ import annotations

import ast
from functools import cache

import pytest
from workflow import ROOT

CONFIG, WRONG, FRESH = "workflow/test_config.py", "workflow/test_wrong_settings.py", "workflow/test_freshness.py"
WHO, LABELS, HEADERS = "stages/test_identity.py", "stages/test_label_maps.py", "stages/test_headers.py"
CHECKS, GATE, MODELS = "stages/test_checks.py", "stages/test_copy_gate.py", "stages/test_model_folders.py"
MISTAKE = (CONFIG, "test_a_mistake_is_answered_by_what_to_write")
SYMPTOMS = {
    # a wrong result without a word
    "an unset shell variable as data_root, and the study is of simulated patients": (*MISTAKE, "data_root: ''"),
    "a blank container or reference_root is none": (*MISTAKE, "reference_root: ''"),
    "system instead of systems, and the default runs": (*MISTAKE, "system: lsgan_3d"),
    "children's masks of 2024 read as those of 2023": (LABELS, "test_a_collection_is_read_as_it_is_named_and_labelled", "BraTS-PED 2024"),
    "old masks under new names": (LABELS, "test_labels_that_are_not_sure_stop_with_the_line_to_write", "old masks under new names"),
    "a region that is empty in every case": (LABELS, "test_a_region_that_is_empty_in_every_case_is_said_once"),
    "two time points are two patients, one in train and one in test": (WHO, "test_time_points_of_known_collections_are_one_patient", "UPENN-GBM-00002_21"),
    "time points of another naming are two patients": (WHO, "test_time_points_of_known_collections_are_one_patient", "PatientID_0003_Timepoint_2"),
    "who is one patient is known to me alone": (WHO, "test_a_table_decides_who_is_who"),
    "ids of one stem that may be one patient": (WHO, "test_ids_that_share_a_stem_are_warned_of"),
    "one patient in two releases, one in train and one in test": (WHO, "test_a_patient_of_two_releases_is_found_by_the_mask", "brighter"),
    "a mirrored copy of a patient": (WHO, "test_a_patient_of_two_releases_is_found_by_the_mask", "mirrored"),
    "a renamed copy of a patient": ("stages/test_checks_identity.py", "test_the_same_images_under_two_ids_are_kept_once"),
    "a refused file was mended, and nothing is to be done": (FRESH, "test_a_file_that_was_mended_added_or_replaced_makes_the_cohort_again"),
    "a mask was replaced under a finished study": ("stages/test_scores.py", "test_a_mask_that_was_replaced_under_a_finished_study_is_not_scored"),
    "results were renamed or .snakemake was lost, and the changed key is ignored": (FRESH, "test_other_settings_on_files_of_before_stop_with_both_values"),
    "centimetres, metres or micrometres in a header": (HEADERS, "test_refused_by_name_in_no_time", "an affine in centimetres"),
    "units that the header names": (HEADERS, "test_read_as_it_is_meant", "micrometres"),
    "a brain of twelve litres": (HEADERS, "test_refused_by_name_in_no_time", "an affine twice too large"),
    "voxels of 1e19 mm": (HEADERS, "test_refused_by_name_in_no_time", "a spacing of 1e19 mm"),
    "a scale that leaves all numbers": (HEADERS, "test_refused_by_name_in_no_time", "a slope beyond all numbers"),
    "intensities that no scanner gives": (HEADERS, "test_intensities_that_no_scanner_gives_are_refused"),
    "an identity as affine": (HEADERS, "test_an_identity_affine_is_noted"),
    "a file that is read four bytes early": (HEADERS, "test_refused_by_name_in_no_time", "voxels that start at byte 0"),
    "the header of a pair of files in a single one": (HEADERS, "test_refused_by_name_in_no_time", "a header of a pair in a single file"),
    "a file that is longer than its header says": (HEADERS, "test_refused_by_name_in_no_time", "a file longer than its header says"),
    ".nan switches a check off": (CONFIG, "test_no_number_may_be_nan_or_infinite"),
    "an image is read as a mask, as A_seg is another case": (WHO, "test_ids_whose_files_would_collide_are_told_apart_or_refused"),
    "synthesize releases a copy that the study refused": (GATE, "test_a_model_carries_its_gates_to_wherever_it_is_used"),
    "more steps for a trained system start from nothing": ("unit/test_training_loop.py", "test_a_training_with_more_steps_says_that_it_starts_again"),
    "more steps at a constant rate start from nothing": ("unit/test_training_loop.py", "test_a_training_with_more_steps_goes_on_where_the_first_ones_are_the_same"),
    "two channels of a case are swapped": ("stages/test_checks_identity.py", "test_two_channels_that_were_swapped_in_one_case_are_said"),
    # refused, though it is right
    "labels 1.00001 or 1.004": (LABELS, "test_labels_that_rounding_moved_are_labels"),
    "a foreign folder beside a cohort stops the run": (LABELS, "test_a_foreign_folder_beside_a_cohort_is_left_out_and_said"),
    "Kaggle's folders": (LABELS, "test_a_collection_is_read_as_it_is_named_and_labelled", "Kaggle's folders"),
    "UCSF-PDGM": (LABELS, "test_a_collection_is_read_as_it_is_named_and_labelled", "UCSF-PDGM"),
    "a raw folder of nnU-Net": (LABELS, "test_a_raw_folder_of_nnunet_is_read"),
    "BraTS20_Training_355": (LABELS, "test_a_mask_of_another_name_is_named_in_the_row"),
    # ends or hangs a stage
    "a pipe as a modality": (HEADERS, "test_refused_by_name_in_no_time", "a pipe"),
    "a link to /dev/zero": (HEADERS, "test_refused_by_name_in_no_time", "a device"),
    "a link to itself": (HEADERS, "test_refused_by_name_in_no_time", "a link to itself"),
    "folders that link to each other": ("stages/test_layouts.py", "test_uncompressed_files_and_folder_links_are_followed_once"),
    "an affine that is none": (HEADERS, "test_refused_by_name_in_no_time", "an affine with parallel axes"),
    "voxels that start at infinity": (HEADERS, "test_refused_by_name_in_no_time", "voxels that start nowhere"),
    "a sparse file of 40 GB": (HEADERS, "test_refused_by_name_in_no_time", "a sparse file of 40 GB"),
    "gzip members without end": (HEADERS, "test_refused_by_name_in_no_time", "gzip members without end"),
    "an honest block-gzipped file takes minutes": (HEADERS, "test_many_members_are_read_in_linear_time"),
    "a small file that is 8 GiB in memory": (HEADERS, "test_refused_by_name_in_no_time", "1020^3 bytes with a slope"),
    "any header or body whatever": (HEADERS, "test_no_mutant_ends_a_worker_hangs_it_fills_its_memory_or_is_read_as_nonsense"),
    "argument list too long after days of training": ("unit/test_commands.py", "test_400_blocks_of_a_thousand_patients_are_gathered"),
    "more CPUs than any node has": ("cluster/test_cluster_check.py", "test_jobs_that_no_node_can_hold"),
    "memory that grows beyond the largest node": ("cluster/test_cluster_check.py", "test_memory_grows_to_that_of_the_largest_node"),
    # the configuration
    "a traceback for a value of another type": (WRONG, "test_three_hundred_wrong_configurations_are_refused_by_the_key_that_is_wrong"),
    "a traceback for whatever stands there": (WRONG, "test_no_value_whatever_ends_in_a_traceback"),
    "a mistake that is told after a training": (WRONG, "test_what_is_taken_can_be_built"),
    "a sampler, a schedule or a batch that is told after a training": (CONFIG, "test_a_mistake_in_a_system_is_answered_by_what_to_write", "condition_dropout: 1"),
    "more patients are asked for than there are": (*MISTAKE, "learning_curve: [500]"),
    "a name that is no text for YAML": (*MISTAKE, "run: '@x'"),
    "keys that are no text": (*MISTAKE, "system_settings: {3: {}}"),
    "a list where a system's settings belong": (*MISTAKE, "system_settings: {slice_ldm: [1]}"),
    "2.0 where a whole number belongs": (*MISTAKE, "preprocessing: {shards: 2.0}"),
    "a regular expression as an answer": ("workflow/test_dataset.py", "test_a_mistake_is_a_sentence", "reads P012_2 as a case of the patient P012"),
    "a wrong option of a program": (WRONG, "test_a_wrong_command_line_of_a_program_is_answered_by_its_usage"),
    "braces in a path": (*MISTAKE, "data_root: '/data/{x}'"),
    "planning takes 6 GB": (*MISTAKE, "synthetic_only_ratios: [1.0e+9]"),
    "~ is not expanded": (CONFIG, "test_a_path_may_begin_at_home"),
    "a system's file that is a list, empty or no text": ("workflow/test_system_files.py", "test_a_file_that_holds_no_system_is_named"),
    "schema and programs disagree": (CONFIG, "test_schema_and_tables_of_keys_are_in_step_with_the_models"),
    "a traceback for a key that a layout of one's own lacks": (WRONG, "test_a_mistake_in_a_layout_is_answered_by_the_layouts_name"),
    # what others could do, and crashes
    "a model folder overwrites a file elsewhere": (GATE, "test_no_model_folder_writes_outside_of_the_folder_that_it_is_given"),
    "a model.json with parts of another type": (MODELS, "test_a_contract_of_whatever_is_refused_by_its_file_or_draws_whole_cases"),
    "a model folder that was cut on the way": (MODELS, "test_bytes_that_were_cut_or_changed_are_told"),
    "code in a model folder": (MODELS, "test_nothing_of_a_model_folder_is_unpickled"),
    "code in a checkpoint": ("stages/test_training_resume.py", "test_no_code_hides_in_a_checkpoint"),
    "code in nnU-Net's pool": ("stages/test_segmentation_pool.py", "test_pooled_case_is_the_brain_normalised_with_its_levels"),
    "another user's link as the lock of a GPU": ("unit/test_locks.py", "test_no_file_behind_a_link_of_another_user_is_opened"),
    "two jobs train into one folder": ("unit/test_locks.py", "test_one_of_many_starts_has_the_folder_where_the_kernels_lock_is_local_to_a_node"),
    "a simulated study that was moved finds its patients no more": ("stages/test_subset.py", "test_simulated_cases_are_found_where_their_run_was_moved"),
    "killed at any moment": ("workflow/test_killed_study.py", "test_killed_at_random_moments_the_study_ends_in_the_same_bytes"),
    "an image given as a mask lists every value": (CHECKS, "test_a_broken_case_is_refused_and_named", "image_as_a_mask"),
    "a full disk names no path": ("unit/test_base.py", "test_a_full_disk_names_the_file_that_was_being_written"),
    "a file has its former name after a loss of power": ("unit/test_base.py", "test_a_new_name_is_flushed_to_disk"),
    "a download that was cut off": (CHECKS, "test_a_broken_case_is_refused_and_named", "cut_off_by_a_byte"),
    "quotes, spaces and other scripts in names": ("stages/test_checks_identity.py", "test_spaces_quotes_and_other_scripts_in_paths"),
}  # fmt: skip


@cache
def named_in(file: str) -> set[str]:
    return {
        node.name for node in ast.parse((ROOT / "tests" / file).read_text()).body if isinstance(node, ast.FunctionDef)
    }


@pytest.mark.parametrize("symptom", SYMPTOMS)
def test_a_symptom_has_its_test(symptom):
    file, name, *row = SYMPTOMS[symptom]
    assert name in named_in(file)
    assert all(words in (ROOT / "tests" / file).read_text() for words in row), f"{file} has no such row"
