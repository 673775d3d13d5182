import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { runTool } from './release-tool.ts';

/** What the extension is called. Its file in the guest has to be `NAME.raw` (systemd-sysext(8)). */
const NAME = 'docker-preloader';

/**
 * Makes a system extension of the package, for guests with an immutable `/usr`: a squashfs that systemd-sysext merges.
 * Whoever merges it wants it, so Docker wants the agent, which the package leaves to `systemctl enable`. The same
 * tarball and date give the same bytes.
 * @param tarball the tree of the package
 * @param architecture as systemd calls it (os-release(5)), such as `x86-64`
 * @param output the image's path
 */
export async function writeSystemExtension(
  tarball: string,
  architecture: string,
  date: Date,
  output: string,
): Promise<void> {
  const tree = mkdtempSync(path.join(path.dirname(output), '.extension-'));
  try {
    await runTool('tar', ['--extract', '--preserve-permissions', `--file=${tarball}`, `--directory=${tree}`]);
    const [released, wants] = ['usr/lib/extension-release.d', 'usr/lib/systemd/system/docker.service.wants'].map(
      (folder) => path.join(tree, folder),
    ) as [string, string];
    for (const folder of [released, wants]) mkdirSync(folder);
    // It stands on no distribution's files. systemd 255 and later see its units without being told to.
    const release = path.join(released, `extension-release.${NAME}`);
    writeFileSync(release, `ID=_any\nARCHITECTURE=${architecture}\nEXTENSION_RELOAD_MANAGER=1\n`);
    // Whatever the umask is.
    for (const made of [released, wants]) chmodSync(made, 0o755);
    chmodSync(release, 0o644);
    symlinkSync('../docker-preloader.service', path.join(wants, 'docker-preloader.service'));
    const seconds = String(date.getTime() / 1000);
    // Level 15, the default, takes forty seconds for 2 % less.
    const options = `-noappend -quiet -no-progress -comp zstd -Xcompression-level 9 -no-xattrs -all-root -root-mode 0755 -mkfs-time ${seconds} -all-time ${seconds}`;
    // Beside the options for times, the variable is refused.
    await runTool('env', ['--unset=SOURCE_DATE_EPOCH', 'mksquashfs', tree, output, ...options.split(' ')]);
  } finally {
    rmSync(tree, { recursive: true });
  }
}
