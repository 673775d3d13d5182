import { isRecord } from '../../text/is-record.ts';

/** `linux/amd64`, `linux/arm/v7`. */
export interface Platform {
  readonly os: string;
  readonly architecture: string;
  readonly variant: string | undefined;
}

/** Which image of several. */
export interface PlatformChoice {
  readonly platform: Platform;
  /** Whether the user asked for it. If so, no other platform will do; if not, any that runs on it will. */
  readonly asked: boolean;
}

/** This machine's platform in Go's names. */
export function machinePlatform(): Platform {
  const architectures: Partial<Record<NodeJS.Architecture, string>> = { x64: 'amd64', ia32: '386' };
  return { os: 'linux', architecture: architectures[process.arch] ?? process.arch, variant: undefined };
}

/** @throws Error if it is not a platform */
export function parsePlatform(text: string): Platform {
  const match = /^([a-z0-9]+)\/([a-z0-9_]+)(?:\/([a-z0-9.]+))?$/.exec(text);
  if (match === null) throw new Error(`expected a platform as in linux/amd64 or linux/arm/v7, found '${text}'`);
  return { os: match[1] ?? '', architecture: match[2] ?? '', variant: match[3] };
}

export function describePlatform({ os, architecture, variant }: Platform): string {
  return variant === undefined || variant === '' ? `${os}/${architecture}` : `${os}/${architecture}/${variant}`;
}

/** The platform that an image's configuration names; undefined if it names none. */
export function platformOfConfig(config: Buffer): Platform | undefined {
  const document: unknown = JSON.parse(config.toString('utf8'));
  const { os, architecture, variant } = isRecord(document) ? document : {};
  if (typeof architecture !== 'string' || architecture === '') return undefined;
  return {
    os: typeof os === 'string' && os !== '' ? os : 'linux',
    architecture,
    variant: typeof variant === 'string' ? variant : undefined,
  };
}

/**
 * How well an image suits: 0 is best, undefined is not at all. The rules are those of containerd's platforms package:
 * if a platform was asked for, exactly that one (OnlyStrict, as `docker load --platform`), otherwise also those that
 * run on it (Only).
 */
export function rankOf({ platform, asked }: PlatformChoice, found: Platform): number | undefined {
  const wanted = asked ? [normalise(platform)] : servedBy(normalise(platform));
  const { os, architecture, variant } = normalise(found);
  const rank = wanted.findIndex((one) => one.os === os && one.architecture === architecture && one.variant === variant);
  return rank === -1 ? undefined : rank;
}

/** One way to write each platform (containerd/platforms, database.go: normalizeOS, normalizeArch). */
function normalise({ os, architecture, variant = '' }: Platform): Platform {
  const plain = (name: string, level: string): Platform => ({
    os: os.toLowerCase(),
    architecture: name,
    variant: level,
  });
  const level = variant.toLowerCase();
  switch (architecture.toLowerCase()) {
    case 'i386':
      return plain('386', '');
    case 'x86_64':
    case 'x86-64':
    case 'amd64':
      return plain('amd64', level === 'v1' ? '' : level);
    case 'aarch64':
    case 'arm64':
      if (['8', 'v8', 'v8.0'].includes(level)) return plain('arm64', '');
      return plain('arm64', ['9', '9.0', 'v9.0'].includes(level) ? 'v9' : level);
    case 'armhf':
      return plain('arm', 'v7');
    case 'armel':
      return plain('arm', 'v6');
    case 'arm':
      return plain('arm', level === '' ? 'v7' : /^[5-8]$/.test(level) ? `v${level}` : level);
    default:
      return plain(architecture.toLowerCase(), level);
  }
}

/**
 * The platforms that run on a machine, the best first (containerd/platforms, compare.go: platformVector). The machine's
 * level of amd64 or arm64 is not known here, so the lowest is assumed.
 */
function servedBy(machine: Platform): Platform[] {
  const { os, architecture, variant } = machine;
  const arm = (highest: number): Platform[] =>
    ARM_LEVELS.filter((level) => level <= highest).map((level) => ({ os, architecture: 'arm', variant: `v${level}` }));
  if (architecture === 'amd64') return [machine, { os, architecture: '386', variant: '' }];
  if (architecture === 'arm64') return [machine, ...arm(8)];
  if (architecture === 'arm') return arm(Number(variant?.slice(1)));
  return [machine];
}

const ARM_LEVELS = [8, 7, 6, 5];
