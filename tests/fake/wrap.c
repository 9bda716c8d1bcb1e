/* SPDX-License-Identifier: MIT */
/* The fake looks at every frame before it is freed: the linker gives us the calls (-Wl,--wrap). */
#include "mm/frame.h"
#include "tests/fake/fake.h"

enum loam_err __real_loam_frame_free(struct loam_pfn pfn, unsigned order);
enum loam_err __wrap_loam_frame_free(struct loam_pfn pfn, unsigned order);
enum loam_err __wrap_loam_frame_free(struct loam_pfn pfn, unsigned order)
{
	enum loam_owner owner;
	unsigned taken;

	/* only a free that is going to happen */
	if (loam_frame_query(pfn, &owner, &taken) == LOAM_OK && owner != LOAM_OWNER_NONE &&
	    taken == order)
		fake_check_free(pfn, order);
	return __real_loam_frame_free(pfn, order);
}

void __real_loam_frame_list_free(struct loam_frame_list *list);
void __wrap_loam_frame_list_free(struct loam_frame_list *list);
void __wrap_loam_frame_list_free(struct loam_frame_list *list)
{
	struct loam_frame_list copy = *list;

	while (copy.count > 0)
		fake_check_free(loam_frame_list_pop(&copy), 0);
	__real_loam_frame_list_free(list);
}
