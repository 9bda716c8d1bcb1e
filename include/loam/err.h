/* SPDX-License-Identifier: MIT */
/*
 * Result codes. A call that returns one leaves its out-parameters and all of loam's state
 * untouched unless the result is LOAM_OK.
 */
#ifndef LOAM_ERR_H
#define LOAM_ERR_H

#ifdef __cplusplus
extern "C" {
#endif

enum loam_err {
	LOAM_OK = 0,
	LOAM_NOMEM,  /* no frame left (memory) */
	LOAM_NOVIRT, /* no room left in the virtual window (address space) */
	LOAM_LIMIT,  /* a limit that somebody set would be exceeded (policy) */
	LOAM_INVAL,  /* the arguments make no sense: unaligned, wrapping, wrong state */
	LOAM_EXIST,  /* something is there already: overlap */
	LOAM_NOENT,  /* nothing is there */
	LOAM_BUSY,   /* cannot be done now, may work later */
	LOAM_NOTSUP, /* this machine or build cannot do it */
	LOAM_ERR_COUNT,
};

/* A function whose result must be looked at. */
#define LOAM_MUST_USE __attribute__((warn_unused_result))

/* Name of a result code ("NOMEM"). Never NULL. Context: any. */
const char *loam_err_name(enum loam_err err);

#ifdef __cplusplus
}
#endif

#endif
