/**
 * How much of a disk is read, whatever it claims: the agent holds no boot up for a made-up disk, `inspect` says where
 * it would leave something out, and `build` makes no such disk. One set for the three of them.
 */

/** Of a record's files, each a line. */
export const SMALL_FILE_BYTES = 4096;
export const MAX_REPOSITORIES_BYTES = 8 * 1024 * 1024;
export const MAX_SOURCES_BYTES = 1024 * 1024;
/** Parsed, it takes ten times as much memory. */
export const MAX_MANIFEST_BYTES = 16 * 1024 * 1024;
/** A layer's tar-split is copied into each data root. */
export const MAX_TAR_SPLIT_BYTES = 1024 * 1024 * 1024;
/**
 * So much of it needs no reason: some 100,000 files. What is larger must have as many names below the layer's folder as
 * it takes to come to that size, a name with its path, what it links to and its xattrs (ext4 has 4 KiB of each).
 */
export const FREE_TAR_SPLIT_BYTES = 16 * 1024 * 1024;
export const TAR_SPLIT_BYTES_OF_NAME = 16 * 1024;
/** Of the list to read ahead. */
export const MAX_READ_AHEAD_BYTES = 4 * 1024 * 1024;
/** Each costs the agent some system calls while Docker starts. */
export const MAX_READ_AHEAD_FILES = 40_000;
/** Of a folder that is read without mounting the disk. */
export const MAX_FOLDER_BYTES = 256 * 1024 * 1024;
/** More images than any disk has. */
export const MAX_IMAGES = 10_000;
export const MAX_REFERENCES = 10_000;
/** Of configurations and registry sources of one disk, which are held in memory until they are written. */
export const MAX_HELD_BYTES = 32 * 1024 * 1024;
/** Of a tar-split, unpacked: a line holds at most some headers, or a sparse file's map. */
export const MAX_TAR_SPLIT_LINE_BYTES = 64 * 1024 * 1024;
/**
 * So many bytes may be read of a disk for each that it takes itself: no gzip holds more, and files with holes claim
 * what they like (zlib, "Maximum Compression Factor").
 */
export const MAX_EXPANSION = 1032;
