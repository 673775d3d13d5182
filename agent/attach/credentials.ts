import { invalid, type AttachedDisk } from './attached-disk.ts';

/** As systemd looks for credentials in strings of the BIOS (systemd.system-credentials(7), SMBIOS type 11). */
const PREFIX = 'io.systemd.credential';
const NAME = 'docker-preloader.required';

/** The value of `required` that makes a guest insist on these disks. @throws PreloaderError DISK_INVALID */
export function requiredOf(disks: readonly AttachedDisk[], byDigest: boolean): string {
  return disks
    .map(({ path, label, digest }) => {
      if (!byDigest) return label;
      if (digest === null)
        throw invalid(path, 'expected a disk with a digest, found one that dockerd filled, without a manifest');
      return `${label}@${digest}`;
    })
    .join(',');
}

/** The string for the BIOS that brings it as a credential of the system. */
export function credentialString(required: string): string {
  return `${PREFIX}:${NAME}=${required}`;
}

/** The same without commas, for those who end a string at each. */
export function commalessString(required: string): string {
  return required.includes(',')
    ? `${PREFIX}.binary:${NAME}=${Buffer.from(required).toString('base64')}`
    : credentialString(required);
}

/** The word for the kernel's command line, where no string of the BIOS gets to the guest. */
export function kernelWord(required: string): string {
  return `docker_preloader.required=${required}`;
}
