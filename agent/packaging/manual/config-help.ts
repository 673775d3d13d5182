import type { Config } from '../../config/config.ts';

interface KeyHelp {
  readonly meaning: string;
  /** What holds without the key where the schema has no default for it. */
  readonly otherwise?: string;
}

/** What each key of the configuration means, as agent/commands/README.md and docker-preloader-config(5) have it. */
export const configHelp: Readonly<Record<keyof Config, KeyHelp>> = {
  labels: { meaning: 'labels to take, names or globs, in rising precedence. A name is waited for' },
  required: {
    meaning:
      "names or globs without which the result is `failed`; of a glob, one match is enough. `label@sha256:<digest>` pins the content to the digest of the disk's `docker-preloader.json`; of several digests a disk must have one. Where a label is pinned itself, what a glob pins does not count for it",
  },
  deviceTimeoutSec: {
    meaning: 'the longest wait: for a name until it appears, for a glob until udev has handled all devices',
  },
  idleExitSec: {
    meaning:
      "after so many seconds (10 at least) without a request for the status, the daemon ends. The next request starts it again, by the socket; that changes nothing, and tells this boot's times. While it is away it follows no devices: a disk that is attached then is seen at the next request, or at Docker's next start. `0`: it stays",
  },
  dockerConfig: { meaning: "dockerd's own configuration" },
  dockerHost: {
    meaning: "where dockerd's API is, `unix://` and a path: pruned images come back over it",
    otherwise: 'from that file, docker.service or docker.socket',
  },
  dataRoot: {
    meaning:
      'the store to fill. Where docker.service names another one on its command line, set it here: the status says so',
    otherwise: 'from that file, else `/var/lib/docker`',
  },
  conflicts: { meaning: 'who has a tag that both you and a disk claim: `user` or `disk`' },
  mountRoot: { meaning: 'where disks are mounted, never below `dataRoot`' },
  statusSocket: {
    meaning:
      'the status socket; status.json and metrics.prom lie beside it. On storage that outlives a boot, what an earlier boot left there does not count',
  },
  removedImages: {
    meaning:
      "a preloaded tag that you removed: `restore` it at Docker's next start, or `respect` the removal until the disk has another image under that tag",
  },
  prunedImages: {
    meaning:
      'what `docker image prune` or `docker system prune` took of what was preloaded: `restore` it within 5 seconds, through Docker, or `respect` the prune, which is then a removal like any other (`removedImages`)',
  },
  readAheadMb: {
    meaning:
      'how many MB, of all disks together, are read into memory once Docker may start, of what disks made with `build --read-ahead` list; never more than a quarter of the available memory. `0`: nothing',
  },
};
