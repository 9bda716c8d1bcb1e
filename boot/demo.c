#include "boot/boot.h"
#include "mm/print.h"
#include "mm/sys.h"
int loam_kernel_main(const struct loam_boot_info *info)
{
	struct loam_sys_stats st; uintptr_t b;
	enum loam_err e = loam_mm_init(&info->config);
	loam_log(LOAM_LOG_INFO, "init %s\n", loam_err_name(e));
	e = loam_sys_reserve(0, 64 << 20, 0, &b);
	loam_log(LOAM_LOG_INFO, "reserve %s %#llx\n", loam_err_name(e), (unsigned long long)b);
	e = loam_sys_map(b, 8 << 20, LOAM_OWNER_HEAP);
	loam_log(LOAM_LOG_INFO, "map %s\n", loam_err_name(e));
	e = loam_sys_hugepage(b+0x200000, 4 << 20);
	e = loam_sys_used(b, 8 << 20, NULL);
	loam_log(LOAM_LOG_INFO, "used %s\n", loam_err_name(e));
	for (size_t i = 0; i < 8 << 20; i += 4096) *(volatile uint64_t *)(b + i) = i;
	for (size_t i = 0; i < 8 << 20; i += 4096) if (*(volatile uint64_t *)(b + i) != i) loam_log(0, "BAD\n");
	e = loam_sys_unused(b+0x201000, 4096);
	for (size_t i = 0; i < 8 << 20; i += 4096) if (i!=0x201000&&*(volatile uint64_t *)(b + i) != i) loam_log(0, "BAD\n");
	e = loam_sys_fault(b+0x301000, 4096);
	loam_sys_stats(&st);
	loam_log(LOAM_LOG_INFO, "%s ready %k huge %k t=%u us\n", loam_err_name(e), st.state_bytes[3], st.huge_ready_bytes, (unsigned)((loam_machine_now_ns()-info->start_ns)/1000));
	loam_sys_verify();
	struct loam_fault f;
	loam_log(0, "probe null %d\n", loam_boot_probe(0, (void*)8, &f));
	loam_log(0, "probe exec %d\n", loam_boot_probe(2, (void*)b, &f));
	loam_log(0, "probe write text %d\n", loam_boot_probe(1, (void*)loam_image_start, &f));
	if (loam_cmdline_is(info->cmdline,"fault","stack")) { volatile char buf[70000]; buf[0]=1; (void)buf[1];}
	*(volatile char *)(b + 0x301008) = 1;
	return 0;
}
