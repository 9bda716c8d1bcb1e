# The boot image and how to run it. Included by the Makefile.
.PHONY: images
images: ## boot images for both ISAs
