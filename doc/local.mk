# SPDX-License-Identifier: Apache-2.0
dist_man_MANS += %D%/man/coffer.conf.5
dist_man_MANS += %D%/man/coffer-extract.1
dist_man_MANS += %D%/man/coffer.1 %D%/man/coffer.7
