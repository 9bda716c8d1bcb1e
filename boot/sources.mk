# Sources of boot/: the example host kernel. Only the Makefile reads this.
loam_boot_src         :=
loam_boot_x86_64_src  :=
loam_boot_aarch64_src :=
