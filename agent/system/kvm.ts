import { accessSync, constants, existsSync } from 'node:fs';

/**
 * Whether this machine's processor itself can run a virtual machine. QEMU also starts with another kind of /dev/kvm,
 * but guests die there.
 */
export function hasKvm(): boolean {
  try {
    accessSync('/dev/kvm', constants.R_OK | constants.W_OK);
  } catch {
    return false;
  }
  return existsSync('/sys/module/kvm_intel') || existsSync('/sys/module/kvm_amd');
}
