/* SPDX-License-Identifier: Apache-2.0 */
/* config_table - every setting of coffer, once.
 *
 * One row is: CONFIG (id, name, type, scope, unit, min, max, default, is_live, help).  From the
 * rows come the parser of the configuration file, that of `-o`, `--dump-config`, the section of
 * coffer.conf(5) (config_man) and the test that all of them agree.
 *
 *   type     see enum config_type; numbers are held in bytes, nanoseconds or as they are
 *   scope    REGIONAL: also inside `region "name" { }`, and at top level the default for all
 *   regions;
 *            GLOBAL: at top level only; OPTION: on the command line (-o) only
 *   unit     of a number, for people; of a CHOICE the words, separated by '|'
 *   min max  of a number, inclusive
 *   is_live  changes in a mount that runs (by a write to .coffer/), without mounting again
 *
 * A setting that goes away keeps its row, with a help text that begins with "Deprecated".
 * No guard: this file is included once per use of the rows, with CONFIG defined. */
#ifdef CONFIG

CONFIG (URL, "url", STRING, REGIONAL, "", 0, 0, "", false,
        "The store: file:///DIR or s3://BUCKET/PREFIX?endpoint=... (quote it in the file).")
CONFIG (KEY_FILE, "key-file", PATH, REGIONAL, "", 0, 0, "", false,
        "The key file that opens the store; readable by its owner only. The default is the one "
        "that "
        "coffer init made for this URL.")
CONFIG (PASSPHRASE_FILE, "passphrase-file", PATH, REGIONAL, "", 0, 0, "", false,
        "A file that holds the passphrase, instead of a key file; readable by its owner only.")
CONFIG (UPLOAD_RATE, "upload-rate", RATE, REGIONAL, "per second", 0, 0, "off", true,
        "What may go up to this region, as a rate (20MB) or by hours of the day "
        "(08:00-18:00=20MB,*=100MB). "
        "A limit below 90MB at all hours has mount make writes smaller, for many writers to share "
        "it: mount again after it was lifted.")
CONFIG (DOWNLOAD_RATE, "download-rate", RATE, REGIONAL, "per second", 0, 0, "off", true,
        "The same for what comes down.")
CONFIG (RETRY, "retry", CHOICE, REGIONAL, "quick|standard|aggressive|patient|none", 0, 0, "patient",
        false,
        "How long a request to the store is tried again: 5 seconds, one minute, five minutes in "
        "short "
        "steps, one hour (an upload seven days, so that what was written outlasts any outage), not "
        "at all. Commands without a mount use quick unless this is set.")
CONFIG (CONNECT_TIMEOUT, "connect-timeout", DURATION, REGIONAL, "", NS_PER_S, 600 * NS_PER_S, "10s",
        false, "How long a connection to the store may take.")
CONFIG (STALL_TIMEOUT, "stall-timeout", DURATION, REGIONAL, "", NS_PER_S, 3600 * NS_PER_S, "30s",
        false, "A transfer of which no byte moves for so long is tried again.")
CONFIG (PROFILE, "profile", STRING, REGIONAL, "", 0, 0, "", false,
        "The profile of AWS's shared credentials file (also profile= in the URL).")

CONFIG (REGION, "region", STRING, OPTION, "", 0, 0, "", false,
        "The name of the single region of a URL on the command line. The default is local for a "
        "directory, else s3.")
CONFIG (HOST_UPLOAD_RATE, "host-upload-rate", RATE, GLOBAL, "per second", 0, 0, "off", true,
        "What may go up to all regions together.")
CONFIG (HOST_DOWNLOAD_RATE, "host-download-rate", RATE, GLOBAL, "per second", 0, 0, "off", true,
        "What may come down from all regions together.")

CONFIG (STATE_DIR, "state-dir", PATH, GLOBAL, "", 0, 0, "", false,
        "What this host must remember of open snapshots, and its index. The default is a "
        "directory of "
        "its own for each mount below /var/lib/coffer (root) or ~/.local/state/coffer.")
CONFIG (CACHE_DIR, "cache-dir", PATH, GLOBAL, "", 0, 0, "", false,
        "Where blocks read from the store are kept; may be deleted at any time; none: no cache. "
        "The "
        "default is below /var/cache/coffer (root) or ~/.cache/coffer.")
CONFIG (CACHE_SIZE, "cache-size", SIZE, GLOBAL, "bytes", 0, INT64_MAX, "10GiB", false,
        "The most that the cache may take; 0: no cache.")
CONFIG (OVERLAY_SIZE, "overlay-size", SIZE, GLOBAL, "bytes", 16 << 20, INT64_MAX, "10GiB", false,
        "The most that random writes may take in the state directory before writers wait.")
CONFIG (ZSTD_LEVEL, "zstd-level", INT, GLOBAL, "", -7, 19, "1", false,
        "How hard to compress: 1 keeps up with most disks, 3 stores about a tenth less.")
CONFIG (SEALER_THREADS, "sealer-threads", INT, GLOBAL, "", 0, 64, "0", false,
        "Threads that compress and encrypt; 0: one per processor, at most 8.")
CONFIG (FUSE_THREADS, "fuse-threads", INT, GLOBAL, "", 1, 128, "10", false,
        "Threads that answer the kernel; none of them waits on the network.")
CONFIG (READ_AHEAD, "read-ahead", SIZE, GLOBAL, "bytes", 0, 1 << 30, "4MiB", false,
        "The kernel's read-ahead on the mount, where coffer may set it.")
CONFIG (REFRESH, "refresh", DURATION, GLOBAL, "", 0, 86400 * NS_PER_S, "30s", false,
        "Within this time a snapshot that another host has sealed or removed is seen.")
CONFIG (RENAME_WAIT, "rename-wait", DURATION, GLOBAL, "", 0, 600 * NS_PER_S, "5s", false,
        "How long mv T.partial T waits before it is told to try again; the seal goes on meanwhile.")
CONFIG (WRITE_TIMEOUT, "write-timeout", DURATION, GLOBAL, "", NS_PER_S, 7 * 86400 * NS_PER_S, "1h",
        false, "How long a writer waits while the store is away before it gets an error.")
CONFIG (IDLE_SEAL, "idle-seal", DURATION, GLOBAL, "", 0, 30 * 86400 * NS_PER_S, "off", false,
        "Seal a snapshot (not a .partial one) to which nothing has been written for so long. Never "
        "after an error, a crash or a remount, and such a snapshot is not latest.")
CONFIG (PARTIAL_EXPIRE, "partial-expire", DURATION, GLOBAL, "", 3600 * NS_PER_S,
        3650 * 86400 * NS_PER_S, "7d", false,
        "A .partial snapshot to which nothing has been written for so long may be removed.")
CONFIG (FILE_SHA256, "file-sha256", BOOL, GLOBAL, "", 0, 0, "no", false,
        "Keep the SHA-256 of each file that is written in order, or copied whole from a file that "
        "has one: user.coffer.sha256 of the sealed file. About 0.6 s of CPU per GiB.")
CONFIG (SEAL_VERIFY, "seal-verify", CHOICE, GLOBAL, "none|list", 0, 0, "none", false,
        "What a seal looks at in the store before it says done: nothing beyond the answers to its "
        "uploads, or a listing that shows every pack.")

CONFIG (ALLOW_OTHER, "allow-other", BOOL, GLOBAL, "", 0, 0, "no", false,
        "Let in other users than the one who mounted (and root); modes and owners are then "
        "checked.")
CONFIG (READ_ONLY, "read-only", BOOL, GLOBAL, "", 0, 0, "no", false,
        "Mount read-only (also -o ro): nothing can be written, open snapshots stay as they are.")
CONFIG (GUARD, "guard-mountpoint", BOOL, GLOBAL, "", 0, 0, "yes", false,
        "Make the bare mount point unusable (mode 000 and the immutable flag), so that a backup "
        "cannot "
        "end on the local disk while nothing is mounted.")
CONFIG (FSNAME, "fsname", STRING, GLOBAL, "", 0, 0, "", false,
        "The first column of /proc/mounts. The default is the URL.")
CONFIG (LOG, "log", STRING, GLOBAL, "", 0, 0, "", false,
        "Where the log goes: syslog, stderr, or the path of a file. The default is stderr in the "
        "foreground and syslog in the background.")
CONFIG (LOG_LEVEL, "log-level", STRING, GLOBAL, "", 0, 0, "info", false,
        "error, warning, info or debug, also by module: info,pack=debug.")
CONFIG (LOG_JSON, "log-json", BOOL, GLOBAL, "", 0, 0, "no", false, "Log lines as JSON objects.")

#endif
