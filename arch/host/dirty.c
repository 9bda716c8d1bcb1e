#include <loam/sys.h>
bool loam_sys_dirty_can(void){return false;}
enum loam_err loam_sys_dirty_round(uintptr_t base, size_t size, bool split, void (*visit)(void *arg, uintptr_t base, size_t size), void *arg){(void)base;(void)size;(void)split;(void)visit;(void)arg;return LOAM_NOTSUP;}
enum loam_err loam_sys_dirty_look(uintptr_t base, size_t size, void (*visit)(void *arg, uintptr_t base, size_t size), void *arg){(void)base;(void)size;(void)visit;(void)arg;return LOAM_NOTSUP;}
