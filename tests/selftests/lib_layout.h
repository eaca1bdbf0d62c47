/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The layout of the interface, frozen: every offset and size, the same for 32-bit
 * and 64-bit programs. Includes nothing but the interface, so that it can be
 * checked with -m32 -fsyntax-only where no 32-bit C library is installed.
 */
#ifndef SELFTESTS_LIB_LAYOUT_H
#define SELFTESTS_LIB_LAYOUT_H

#include <linux/uvm.h>
#include <linux/uvm_sim.h>

#define AT(type, member, offset)					\
	_Static_assert(__builtin_offsetof(struct type, member) == (offset), \
		       #type "." #member " moved")
#define SIZE(type, bytes)						\
	_Static_assert(sizeof(struct type) == (bytes), #type " changed size")

SIZE(uvm_info, 40);
AT(uvm_info, size, 0);
AT(uvm_info, flags, 4);
AT(uvm_info, out_version, 8);
AT(uvm_info, out_page_size, 12);
AT(uvm_info, out_features, 16);
AT(uvm_info, out_max_gpus, 24);
AT(uvm_info, out_max_channels, 28);
AT(uvm_info, out_max_submit, 32);
AT(uvm_info, out_max_query, 36);

SIZE(uvm_init, 8);
AT(uvm_init, flags, 4);

SIZE(uvm_mm_init, 16);
AT(uvm_mm_init, flags, 4);
AT(uvm_mm_init, va_space_fd, 8);
AT(uvm_mm_init, __reserved, 12);

SIZE(uvm_gpu_info, 96);
AT(uvm_gpu_info, uuid, 0);
AT(uvm_gpu_info, name, 16);
AT(uvm_gpu_info, id, 48);
AT(uvm_gpu_info, memory_kind, 52);
AT(uvm_gpu_info, memory_size, 56);
AT(uvm_gpu_info, memory_free, 64);
AT(uvm_gpu_info, numa_node, 72);
AT(uvm_gpu_info, nearest_node, 76);
AT(uvm_gpu_info, page_sizes, 80);
AT(uvm_gpu_info, va_bits, 88);
AT(uvm_gpu_info, copy_engines, 92);

SIZE(uvm_enum_gpus, 32);
AT(uvm_enum_gpus, flags, 4);
AT(uvm_enum_gpus, gpus, 8);
AT(uvm_enum_gpus, count, 16);
AT(uvm_enum_gpus, entry_size, 20);
AT(uvm_enum_gpus, out_count, 24);
AT(uvm_enum_gpus, __reserved, 28);

SIZE(uvm_register_gpu, 32);
AT(uvm_register_gpu, flags, 4);
AT(uvm_register_gpu, uuid, 8);
AT(uvm_register_gpu, out_numa_enabled, 24);
AT(uvm_register_gpu, out_numa_node, 28);

SIZE(uvm_unregister_gpu, 40);
AT(uvm_unregister_gpu, flags, 4);
AT(uvm_unregister_gpu, uuid, 8);
AT(uvm_unregister_gpu, out_moved, 24);
AT(uvm_unregister_gpu, out_left, 32);

SIZE(uvm_channel_create, 32);
AT(uvm_channel_create, flags, 4);
AT(uvm_channel_create, uuid, 8);
AT(uvm_channel_create, out_channel, 24);
AT(uvm_channel_create, __reserved, 28);

SIZE(uvm_channel_submit, 32);
AT(uvm_channel_submit, flags, 4);
AT(uvm_channel_submit, channel, 8);
AT(uvm_channel_submit, length, 12);
AT(uvm_channel_submit, commands, 16);
AT(uvm_channel_submit, out_point, 24);

SIZE(uvm_channel_query, 48);
AT(uvm_channel_query, flags, 4);
AT(uvm_channel_query, channel, 8);
AT(uvm_channel_query, out_state, 12);
AT(uvm_channel_query, out_reason, 16);
AT(uvm_channel_query, out_access, 20);
AT(uvm_channel_query, out_address, 24);
AT(uvm_channel_query, out_submitted, 32);
AT(uvm_channel_query, out_completed, 40);

SIZE(uvm_channel_destroy, 16);
AT(uvm_channel_destroy, flags, 4);
AT(uvm_channel_destroy, channel, 8);
AT(uvm_channel_destroy, __reserved, 12);

SIZE(uvm_wait, 40);
AT(uvm_wait, flags, 4);
AT(uvm_wait, channel, 8);
AT(uvm_wait, __reserved, 12);
AT(uvm_wait, point, 16);
AT(uvm_wait, timeout_ns, 24);
AT(uvm_wait, out_completed, 32);

SIZE(uvm_migrate, 136);
AT(uvm_migrate, flags, 4);
AT(uvm_migrate, base, 8);
AT(uvm_migrate, length, 16);
AT(uvm_migrate, dest_kind, 24);
AT(uvm_migrate, dest_node, 28);
AT(uvm_migrate, dest_uuid, 32);
AT(uvm_migrate, out_moved, 48);
AT(uvm_migrate, out_already, 56);
AT(uvm_migrate, out_skipped, 64);
AT(uvm_migrate, out_done, 128);

SIZE(uvm_page_state, 4);
AT(uvm_page_state, where, 0);
AT(uvm_page_state, prot, 1);
AT(uvm_page_state, id, 2);

SIZE(uvm_query_residency, 32);
AT(uvm_query_residency, flags, 4);
AT(uvm_query_residency, base, 8);
AT(uvm_query_residency, length, 16);
AT(uvm_query_residency, pages, 24);

SIZE(uvm_processor, 48);
AT(uvm_processor, uuid, 0);
AT(uvm_processor, id, 16);
AT(uvm_processor, nearest_node, 20);
AT(uvm_processor, access, 24);
AT(uvm_processor, copy, 32);
AT(uvm_processor, reach, 40);

SIZE(uvm_query_processors, 32);
AT(uvm_query_processors, flags, 4);
AT(uvm_query_processors, processors, 8);
AT(uvm_query_processors, count, 16);
AT(uvm_query_processors, entry_size, 20);
AT(uvm_query_processors, out_count, 24);
AT(uvm_query_processors, __reserved, 28);

SIZE(uvm_set_preferred_location, 48);
AT(uvm_set_preferred_location, flags, 4);
AT(uvm_set_preferred_location, base, 8);
AT(uvm_set_preferred_location, length, 16);
AT(uvm_set_preferred_location, dest_kind, 24);
AT(uvm_set_preferred_location, dest_node, 28);
AT(uvm_set_preferred_location, dest_uuid, 32);

SIZE(uvm_set_accessed_by, 48);
AT(uvm_set_accessed_by, flags, 4);
AT(uvm_set_accessed_by, base, 8);
AT(uvm_set_accessed_by, length, 16);
AT(uvm_set_accessed_by, uuid, 24);
AT(uvm_set_accessed_by, enable, 40);
AT(uvm_set_accessed_by, __reserved, 44);

SIZE(uvm_set_switch, 32);
AT(uvm_set_switch, flags, 4);
AT(uvm_set_switch, base, 8);
AT(uvm_set_switch, length, 16);
AT(uvm_set_switch, enable, 24);
AT(uvm_set_switch, __reserved, 28);

SIZE(uvm_create_range_group, 16);
AT(uvm_create_range_group, flags, 4);
AT(uvm_create_range_group, out_group, 8);
AT(uvm_create_range_group, __reserved, 12);

SIZE(uvm_destroy_range_group, 16);
AT(uvm_destroy_range_group, flags, 4);
AT(uvm_destroy_range_group, group, 8);
AT(uvm_destroy_range_group, __reserved, 12);

SIZE(uvm_set_range_group, 32);
AT(uvm_set_range_group, flags, 4);
AT(uvm_set_range_group, base, 8);
AT(uvm_set_range_group, length, 16);
AT(uvm_set_range_group, group, 24);
AT(uvm_set_range_group, __reserved, 28);

SIZE(uvm_allow_migration, 16);
AT(uvm_allow_migration, flags, 4);
AT(uvm_allow_migration, group, 8);
AT(uvm_allow_migration, allow, 12);

SIZE(uvm_query_policy, 80);
AT(uvm_query_policy, flags, 4);
AT(uvm_query_policy, address, 8);
AT(uvm_query_policy, out_base, 16);
AT(uvm_query_policy, out_length, 24);
AT(uvm_query_policy, out_policy, 32);
AT(uvm_query_policy, out_group, 36);
AT(uvm_query_policy, out_dest_kind, 40);
AT(uvm_query_policy, out_dest_node, 44);
AT(uvm_query_policy, out_dest_uuid, 48);
AT(uvm_query_policy, accessed_by, 64);
AT(uvm_query_policy, count, 72);
AT(uvm_query_policy, out_count, 76);

SIZE(uvm_range_copies, 16);
AT(uvm_range_copies, __reserved, 4);
AT(uvm_range_copies, pages, 8);

SIZE(uvm_query_range, 56);
AT(uvm_query_range, flags, 4);
AT(uvm_query_range, address, 8);
AT(uvm_query_range, out_base, 16);
AT(uvm_query_range, out_length, 24);
AT(uvm_query_range, out_kind, 32);
AT(uvm_query_range, out_policy, 36);
AT(uvm_query_range, copies, 40);
AT(uvm_query_range, count, 48);
AT(uvm_query_range, out_count, 52);

SIZE(uvm_set_access_counters, 32);
AT(uvm_set_access_counters, flags, 4);
AT(uvm_set_access_counters, uuid, 8);
AT(uvm_set_access_counters, enable, 24);
AT(uvm_set_access_counters, __reserved, 28);

SIZE(uvm_query_memory, 136);
AT(uvm_query_memory, flags, 4);
AT(uvm_query_memory, uuid, 8);
AT(uvm_query_memory, out_total, 24);
AT(uvm_query_memory, out_used, 32);
AT(uvm_query_memory, out_free, 40);
AT(uvm_query_memory, out_largest_free, 48);
AT(uvm_query_memory, out_evictable, 56);
AT(uvm_query_memory, out_pinned, 64);
AT(uvm_query_memory, out_mine, 72);
AT(uvm_query_memory, out_limit, 80);
AT(uvm_query_memory, out_reserved, 88);
AT(uvm_query_memory, out_evicted, 96);
AT(uvm_query_memory, out_refaulted, 104);
AT(uvm_query_memory, out_my_evicted, 112);
AT(uvm_query_memory, out_my_refaulted, 120);
AT(uvm_query_memory, out_thrash, 128);
AT(uvm_query_memory, __reserved, 132);

SIZE(uvm_set_memory_limit, 40);
AT(uvm_set_memory_limit, flags, 4);
AT(uvm_set_memory_limit, uuid, 8);
AT(uvm_set_memory_limit, limit, 24);
AT(uvm_set_memory_limit, reserved, 32);

SIZE(uvm_set_memory_event, 40);
AT(uvm_set_memory_event, flags, 4);
AT(uvm_set_memory_event, uuid, 8);
AT(uvm_set_memory_event, threshold, 24);
AT(uvm_set_memory_event, eventfd, 32);
AT(uvm_set_memory_event, __reserved, 36);

SIZE(uvm_discard, 104);
AT(uvm_discard, flags, 4);
AT(uvm_discard, base, 8);
AT(uvm_discard, length, 16);
AT(uvm_discard, out_discarded, 24);
AT(uvm_discard, out_skipped, 32);
AT(uvm_discard, out_done, 96);

SIZE(uvm_sim_cmd, 48);
AT(uvm_sim_cmd, op, 0);
AT(uvm_sim_cmd, flags, 4);
AT(uvm_sim_cmd, dst, 8);
AT(uvm_sim_cmd, src, 16);
AT(uvm_sim_cmd, length, 24);
AT(uvm_sim_cmd, arg0, 32);
AT(uvm_sim_cmd, arg1, 40);
SIZE(uvm_sim_ring_entry, 56);
SIZE(uvm_sim_fault_entry, 40);
SIZE(uvm_sim_counter_entry, 24);
SIZE(uvm_sim_copy_desc, 24);

_Static_assert(UVM_INFO == 0xE740, "command numbers");
_Static_assert(UVM_INIT == 0xE741, "command numbers");
_Static_assert(UVM_MM_INIT == 0xE742, "command numbers");
_Static_assert(UVM_ENUM_GPUS == 0xE743, "command numbers");
_Static_assert(UVM_REGISTER_GPU == 0xE744, "command numbers");
_Static_assert(UVM_UNREGISTER_GPU == 0xE745, "command numbers");
_Static_assert(UVM_CHANNEL_CREATE == 0xE746, "command numbers");
_Static_assert(UVM_CHANNEL_SUBMIT == 0xE747, "command numbers");
_Static_assert(UVM_CHANNEL_QUERY == 0xE748, "command numbers");
_Static_assert(UVM_CHANNEL_DESTROY == 0xE749, "command numbers");
_Static_assert(UVM_WAIT == 0xE74A, "command numbers");
_Static_assert(UVM_MIGRATE == 0xE74B, "command numbers");
_Static_assert(UVM_QUERY_RESIDENCY == 0xE74C, "command numbers");
_Static_assert(UVM_QUERY_PROCESSORS == 0xE74D, "command numbers");
_Static_assert(UVM_SET_PREFERRED_LOCATION == 0xE74E, "command numbers");
_Static_assert(UVM_SET_ACCESSED_BY == 0xE74F, "command numbers");
_Static_assert(UVM_SET_FAULT_MIGRATION == 0xE750, "command numbers");
_Static_assert(UVM_SET_PREFETCH == 0xE751, "command numbers");
_Static_assert(UVM_SET_READ_MOSTLY == 0xE752, "command numbers");
_Static_assert(UVM_CREATE_RANGE_GROUP == 0xE753, "command numbers");
_Static_assert(UVM_DESTROY_RANGE_GROUP == 0xE754, "command numbers");
_Static_assert(UVM_SET_RANGE_GROUP == 0xE755, "command numbers");
_Static_assert(UVM_ALLOW_MIGRATION == 0xE756, "command numbers");
_Static_assert(UVM_QUERY_POLICY == 0xE757, "command numbers");
_Static_assert(UVM_SET_ACCESS_COUNTERS == 0xE758, "command numbers");
_Static_assert(UVM_QUERY_MEMORY == 0xE759, "command numbers");
_Static_assert(UVM_SET_MEMORY_LIMIT == 0xE75A, "command numbers");
_Static_assert(UVM_SET_MEMORY_EVENT == 0xE75B, "command numbers");
_Static_assert(UVM_DISCARD == 0xE75C, "command numbers");
_Static_assert(UVM_QUERY_RANGE == 0xE75D, "command numbers");

#undef AT
#undef SIZE

#endif /* SELFTESTS_LIB_LAYOUT_H */
