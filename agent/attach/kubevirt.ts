import { basename } from 'node:path';
import type { AttachedDisk } from './attached-disk.ts';
import type { Attach } from './attachment.ts';
import { kernelWord } from './credentials.ts';
import { distinct } from './distinct.ts';
import { plainJson } from './quoting.ts';

/**
 * For the YAML of a VirtualMachine of KubeVirt. A container disk takes a qcow2 as it is, is pulled to each node once,
 * and no machine can write to it. Its tag is of the disk's digest, so that another disk is never taken for it.
 */
export const forKubevirt: Attach = ({ disks, required }) => {
  const names = distinct(
    disks.map(({ label }) => nameOf(label)),
    '-',
  );
  const each = disks.map((disk, index) => ({ disk, name: names[index] ?? '' }));
  const lines = [
    ...each.flatMap(({ disk, name }) => imageComment(disk, name)),
    'spec:',
    '  template:',
    '    spec:',
    '      domain:',
    '        devices:',
    '          disks:',
    ...each.flatMap(({ disk, name }) => [
      `            - name: ${name}`,
      `              serial: ${JSON.stringify(disk.label)}`,
      '              disk:',
      '                bus: virtio',
      '                readonly: true',
    ]),
    '      volumes:',
    ...each.flatMap(({ disk, name }) => [
      `        - name: ${name}`,
      '          containerDisk:',
      `            image: ${JSON.stringify(image(disk, name))}`,
      `            path: ${pathInImage(disk)}`,
    ]),
  ];
  return {
    text: `${lines.join('\n')}\n`,
    notes: [
      'REGISTRY stands for your own, as envsubst puts it there; the comments say how the images are made',
      ...renamed(disks),
      ...(required === undefined
        ? []
        : [
            `KubeVirt brings no credentials to a guest: put ${kernelWord(required)} on its kernel's command line (domain.firmware.kernelBoot.kernelArgs, or its boot loader)`,
          ]),
    ],
  };
};

/** How the image of a disk is made, which is as `build --push` makes it. The user of KubeVirt's QEMU is 107. */
function imageComment(disk: AttachedDisk, name: string): readonly string[] {
  return [
    `# ${image(disk, name)}:`,
    '#   FROM scratch',
    `#   COPY --chown=107:107 ${plainJson([copied(disk), pathInImage(disk)])}`,
  ];
}

/**
 * The name of the file that COPY takes. There, also in JSON, a name is a pattern with variables, quotes and escapes, and not each
 * builder reads all of them alike (docs.docker.com, Dockerfile reference, COPY): one with such gets another name.
 */
function copied(disk: AttachedDisk): string {
  const name = basename(disk.path);
  return /^\w[\w.+@=-]*$/.test(name) ? name : basename(pathInImage(disk));
}

function renamed(disks: readonly AttachedDisk[]): string[] {
  return disks
    .filter((disk) => copied(disk) !== basename(disk.path))
    .map(
      (disk) =>
        `${disk.path}: in a Dockerfile, its name would mean others: give it a hard link ${copied(disk)}, as the comment has it`,
    );
}

const pathInImage = ({ label, format }: AttachedDisk): string => `/disk/${label}.${format === 'raw' ? 'img' : 'qcow2'}`;

function image({ digest }: AttachedDisk, name: string): string {
  return `$REGISTRY/${name}:${digest === null ? '1' : digest.replace(/^sha256:/, '').slice(0, 12)}`;
}

/** A label as a name of Kubernetes (RFC 1123). */
function nameOf(label: string): string {
  return `preload-${label.toLowerCase().replaceAll(/[^a-z0-9]/g, '-')}`.replace(/-+$/, '');
}
