import type { Config } from '../../config/config.ts';

interface KeyHelp {
  readonly meaning: string;
  /** What applies without the key, if the schema has no default for it. */
  readonly otherwise?: string;
}

/** What each key of the configuration means, for agent/commands/README.md and docker-preloader-config(5). */
export const configHelp: Readonly<Record<keyof Config, KeyHelp>> = {
  labels: { meaning: 'which labels to use: names or globs, in rising order of precedence. A name is waited for' },
  required: {
    meaning:
      "names or globs of disks without which the result is `failed`; for a glob, one match is enough. `label@sha256:<digest>` pins the content to the digest of the disk's `docker-preloader.json`; if there are several digests, the disk must have one of them. If a label is pinned itself, the pins of globs do not apply to it",
  },
  trustedKeys: {
    meaning:
      'Ed25519 keys, as lines of .pub files (`ssh-ed25519 KEY comment`): only disks that one of them has signed (`build --sign`) are used, and each file that is read of them is compared with its digest',
    otherwise: 'no disk need be signed',
  },
  sources: {
    meaning:
      'folders that are used as disks are: the absolute path of one, `/path/*` for each folder there, `virtiofs:TAG` or `9p:TAG`, which the agent mounts itself. The label is the name of the folder, or the tag. In rising order of precedence, below those of `labels`; one without `*` is waited for',
  },
  deviceTimeoutSec: {
    meaning: 'the longest wait: for a name until it appears, for a glob until udev has handled all devices',
  },
  idleExitSec: {
    meaning:
      "after this many seconds (at least 10) without a request for the status, the daemon ends. The next request starts it again through the socket; that changes nothing and still shows this boot's times. While it is away, it follows no devices: a disk that is attached meanwhile is noticed at the next request, or at Docker's next start. `0`: it stays",
  },
  dockerConfig: { meaning: "dockerd's own configuration" },
  dockerHost: {
    meaning: "where dockerd's API is, `unix://` and a path. Pruned images are restored through it",
    otherwise: 'from that file, docker.service or docker.socket',
  },
  dataRoot: {
    meaning:
      'the store to fill. If docker.service names another one on its command line, which the status reports, set it here',
    otherwise: 'from that file, else `/var/lib/docker`',
  },
  conflicts: { meaning: 'who gets a tag that both you and a disk claim: `user` or `disk`' },
  mountRoot: { meaning: 'where disks are mounted, never below `dataRoot`' },
  statusSocket: {
    meaning:
      'the status socket, with status.json and metrics.prom beside it. If it is on storage that outlives a boot, files from an earlier boot do not count',
  },
  removedImages: {
    meaning:
      "a preloaded tag that you removed: `restore` it at Docker's next start, or `respect` the removal until the disk has another image under that tag",
  },
  prunedImages: {
    meaning:
      'preloaded images that `docker image prune` or `docker system prune` removed: `restore` them within 5 seconds, through Docker, or `respect` the prune, which is then a removal like any other (`removedImages`)',
  },
  readAheadMb: {
    meaning:
      'how many MB, for all disks together, are read into memory when Docker may start, from the lists on disks made with `build --read-ahead`; never more than a quarter of the available memory. `0`: nothing',
  },
  store: {
    meaning:
      "which store gets the images: dockerd's own, `overlay2`; the one of `containerd`, where Docker 29 and Kubernetes have them; `both`; or `auto`: the one that dockerd will use, and in containerd any namespace besides Docker's",
  },
  containerdAddress: { meaning: "containerd's socket" },
  containerdRoot: {
    meaning:
      'the root of a containerd that starts only after the images are to be there, as that of K3s does: while nobody listens at `containerdAddress`, a private containerd fills it, and ends',
    otherwise: 'that of the containerd that dockerd manages, where the system has none',
  },
  containerdConfig: {
    meaning: 'the configuration file of that containerd, whose settings of the store are taken',
    otherwise: "containerd's own defaults",
  },
  containerdProgram: { meaning: 'the program of that containerd', otherwise: '`containerd` in PATH' },
  namespaces: {
    meaning:
      "the namespaces of containerd that get the images: `moby` is Docker's, `k8s.io` that of Kubernetes, `default` that of `ctr`",
  },
};
