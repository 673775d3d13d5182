/**
 * How much of a disk is read, whatever it claims. So the agent does not hold up a boot for a malicious disk, `inspect`
 * says what the agent would leave out, and `build` makes no such disk. All three use this one set.
 */

/** For each file of a record, which has one line. */
export const SMALL_FILE_BYTES = 4096;
export const MAX_REPOSITORIES_BYTES = 8 * 1024 * 1024;
export const MAX_SOURCES_BYTES = 1024 * 1024;
/**
 * 10,000 images with a layer of their own each take 28 MB. A parsed manifest takes up to seven times as much memory.
 */
export const MAX_MANIFEST_BYTES = 32 * 1024 * 1024;
/** A layer's tar-split is copied into the data root. */
export const MAX_TAR_SPLIT_BYTES = 1024 * 1024 * 1024;
/**
 * A tar-split up to this size is not questioned. It is enough for some 100,000 files. For a larger one, there must be
 * as many names below the layer's folder as such a size takes. Each name has its path, its link's target and its xattrs
 * (ext4 has 4 KiB of each).
 */
export const FREE_TAR_SPLIT_BYTES = 16 * 1024 * 1024;
export const TAR_SPLIT_BYTES_OF_NAME = 16 * 1024;
/** For the list of what to read ahead. */
export const MAX_READ_AHEAD_BYTES = 4 * 1024 * 1024;
/** Each file costs the agent some system calls while Docker starts. */
export const MAX_READ_AHEAD_FILES = 40_000;
/** For a folder that is read without mounting the disk. */
export const MAX_FOLDER_BYTES = 256 * 1024 * 1024;
/**
 * For one manifest or index of an image. Registries take 4 MiB (distribution, handlers/manifests.go,
 * maxManifestBodySize).
 */
export const MAX_IMAGE_MANIFEST_BYTES = 4 * 1024 * 1024;
/** How many indexes may lead to the manifest of an image. */
export const MAX_INDEX_DEPTH = 4;
/** More images than any disk has. */
export const MAX_IMAGES = 10_000;
export const MAX_REFERENCES = 10_000;
/** For all configurations and registry sources of one disk, which are held in memory until they are written. */
export const MAX_HELD_BYTES = 32 * 1024 * 1024;
/** For a line of an unpacked tar-split, which has at most some headers, or the map of a sparse file. */
export const MAX_TAR_SPLIT_LINE_BYTES = 64 * 1024 * 1024;
/**
 * How many bytes may be read of a disk for each byte that it takes itself. No gzip has more (zlib, "Maximum Compression
 * Factor"), but files with holes can claim any size.
 */
export const MAX_EXPANSION = 1032;
