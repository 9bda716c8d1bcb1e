/* SPDX-License-Identifier: MIT */
/* libFuzzer's way into the driver: `make fuzz`. */
#include "tests/fuzz/heap_ops.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	heap_ops_run(data, size);
	return 0;
}
