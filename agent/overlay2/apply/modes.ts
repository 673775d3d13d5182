/**
 * The modes that dockerd gives to its folders and files (moby, overlay2/overlay.go, layer/filestore.go, image/fs.go).
 */
export const FOLDER = 0o755;
export const HOME_MODE = 0o710;
export const LINKS_MODE = 0o700;
export const PRIVATE_FOLDER = 0o700;
export const FILE = 0o644;
export const PRIVATE_FILE = 0o600;
