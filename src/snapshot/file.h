/* SPDX-License-Identifier: Apache-2.0 */
/* Placeholder until the data path is there. */
#ifndef COFFER_SNAPSHOT_FILE_H
#define COFFER_SNAPSHOT_FILE_H
#include "snapshot/worktree.h"
#endif
