/** Labels in the configuration of a disk's image: they are seen before the disk is fetched. */
export const DISK_LABEL = 'docker-preloader.label';
/** The digest of the disk's docker-preloader.json, for `required`. */
export const DISK_MANIFEST = 'docker-preloader.manifest';
/** The digest of the qcow2. */
export const DISK_DIGEST = 'docker-preloader.disk';
