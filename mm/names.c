/* SPDX-License-Identifier: MIT */
/* Names of the public enumerations, for logs and reports. */
#include <loam/err.h>
#include <loam/sys.h>
#include <loam/types.h>

const char *loam_owner_name(enum loam_owner owner)
{
	static const char *const name[LOAM_OWNER_COUNT] = {
		[LOAM_OWNER_NONE] = "none", [LOAM_OWNER_TABLE] = "table",
		[LOAM_OWNER_META] = "meta", [LOAM_OWNER_HEAP] = "heap",
		[LOAM_OWNER_GC] = "gc",	    [LOAM_OWNER_STACK] = "stack",
		[LOAM_OWNER_HOST] = "host", [LOAM_OWNER_TEST] = "test",
	};
	return (unsigned)owner < LOAM_OWNER_COUNT ? name[owner] : "?";
}

const char *loam_err_name(enum loam_err err)
{
	static const char *const name[LOAM_ERR_COUNT] = {
		[LOAM_OK] = "OK",	[LOAM_NOMEM] = "NOMEM", [LOAM_NOVIRT] = "NOVIRT",
		[LOAM_LIMIT] = "LIMIT", [LOAM_INVAL] = "INVAL", [LOAM_EXIST] = "EXIST",
		[LOAM_NOENT] = "NOENT", [LOAM_BUSY] = "BUSY",	[LOAM_NOTSUP] = "NOTSUP",
	};
	return (unsigned)err < LOAM_ERR_COUNT ? name[err] : "?";
}

const char *loam_state_name(enum loam_state state)
{
	static const char *const name[LOAM_STATE_COUNT] = {
		[LOAM_STATE_NONE] = "None",	    [LOAM_STATE_RESERVED] = "Reserved",
		[LOAM_STATE_PREPARED] = "Prepared", [LOAM_STATE_READY] = "Ready",
		[LOAM_STATE_MAPPED] = "Mapped",
	};
	return (unsigned)state < LOAM_STATE_COUNT ? name[state] : "?";
}
