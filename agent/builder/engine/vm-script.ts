import { EXTRA_BLOCKS, EXTRA_SHARE } from './docker-engine.ts';

/** The start of the console's lines that are messages from the guest to the host. */
export const SAYS = 'docker-preloader-vm: ';

export interface VmScript {
  /** The block devices with the archives, and how many bytes of each belong to the archive. */
  readonly archives: readonly { readonly device: string; readonly sizeBytes: number }[];
  readonly scratch: string;
  readonly output: string;
  readonly label: string | undefined;
  readonly sizeBytes: number | undefined;
}

/**
 * Everything that the guest does, as a shell script that is its init. dockerd loads the archives on a scratch disk, and
 * the result is copied to the output disk. The script never returns: it switches the machine off.
 */
export function vmScript({ archives, scratch, output, label, sizeBytes }: VmScript): string {
  const load = archives
    .map(
      ({ device, sizeBytes: bytes }, index) => `say "step loading archive ${index + 1} of ${archives.length}"
head -c ${bytes} ${device} | docker load --quiet || fail "docker load of archive ${index + 1}"`,
    )
    .join('\n');
  return `export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
say() { echo "${SAYS}$*"; }
off() { sync; echo o > /proc/sysrq-trigger; while :; do sleep 60; done; }
fail() { tail -n 3 /run/dockerd.log 2>/dev/null; say "failed $*"; off; }
mountpoint -q /proc || mount -t proc proc /proc
mountpoint -q /sys || mount -t sysfs sysfs /sys
mountpoint -q /dev || mount -t devtmpfs devtmpfs /dev
mountpoint -q /run || mount -t tmpfs tmpfs /run
mountpoint -q /sys/fs/cgroup || mount -t cgroup2 cgroup2 /sys/fs/cgroup
modprobe overlay || fail "modprobe overlay"
ip link set lo up 2>/dev/null
say "step starting dockerd"
mke2fs -q -F -t ext4 -O ^has_journal ${scratch} && mkdir -p /mnt /media && mount ${scratch} /mnt || fail "a scratch filesystem"
mkdir -p /run/dpl
echo '{}' > /run/dpl/daemon.json
dockerd --config-file /run/dpl/daemon.json --data-root /mnt/data --exec-root /run/dpl/exec --bridge=none --iptables=false --storage-driver=overlay2 > /run/dockerd.log 2>&1 &
dockerd=$!
until docker version > /dev/null 2>&1; do
  kill -0 $dockerd 2>/dev/null || fail "dockerd ended"
  sleep 1
done
${load}
kill $dockerd; wait $dockerd
say "step writing the filesystem"
cd /mnt/data || fail "the data root"
rm -rf image/overlay2/layerdb/mounts image/overlay2/layerdb/tmp image/overlay2/layerdb/sha256/*-removing
blocks=$(du -s --block-size=4096 image overlay2 | awk '{ sum += $1 } END { print sum }')
inodes=$(($(du -s --inodes image overlay2 | awk '{ sum += $1 } END { print sum }') + 64))
size=${sizeBytes === undefined ? `$((blocks + blocks * ${Math.round(EXTRA_SHARE * 100)} / 100 + inodes / 8 + ${EXTRA_BLOCKS}))` : sizeBytes / 4096}
label=${label ?? 'dpl-$(sha256sum image/overlay2/repositories.json | cut -c1-11)'}
mke2fs -q -F -t ext4 -b 4096 -m 0 -O ^has_journal,^resize_inode -N $inodes -L "$label" ${output} $size && mount ${output} /media || fail "the disk's filesystem"
cp --archive image overlay2 /media || fail "copying: is the disk too small?"
rmdir /media/lost+found
umount /media || fail "unmounting the disk"
say "done $size $label"
off
`;
}
