import { DEFAULT_DATA_ROOT, readDaemonConfig } from './daemon-config.ts';

/** What in the way in which docker.service starts dockerd decides which store it uses. */
export interface ServiceStore {
  readonly dataRoot: string;
  readonly storageDriver: string | undefined;
  readonly usernsRemap: string | undefined;
  /** Where dockerd listens. */
  readonly hosts: readonly string[];
}

/**
 * What the command line of docker.service says. `--data-root` and `--storage-driver` there win over dockerd's
 * configuration file (dockerd refuses to have them in both). `--config-file` names another file.
 * @param execStart argv of ExecStart=, with variables filled in
 * @throws PreloaderError DOCKER_CONFIG_INVALID
 */
export async function storeOfService(
  execStart: readonly string[],
  environment: Readonly<Record<string, string>>,
  defaultConfigPath: string,
): Promise<ServiceStore> {
  const argv = execStart.flatMap((word) => expand(word, environment));
  const option = (...names: readonly string[]): string | undefined => optionValue(argv, names);
  const config = await readDaemonConfig(option('--config-file') ?? defaultConfigPath);
  const dataRoot = option('--data-root', '-g', '--graph') ?? config.dataRoot;
  return {
    dataRoot: dataRoot === '' ? DEFAULT_DATA_ROOT : dataRoot.replace(/(.)\/+$/, '$1'),
    storageDriver: option('--storage-driver', '-s') ?? config.storageDriver ?? environment['DOCKER_DRIVER'],
    usernsRemap: option('--userns-remap') ?? config.usernsRemap,
    // dockerd refuses hosts in both the file and the command line.
    hosts: [...config.hosts, ...optionValues(argv, ['--host', '-H'])],
  };
}

/** systemd splits `$NAME` into words and puts `${NAME}` in as it is (systemd.service(5), "Command lines"). */
function expand(word: string, environment: Readonly<Record<string, string>>): string[] {
  const whole = /^\$(\w+)$/.exec(word);
  if (whole !== null)
    return (environment[whole[1] ?? ''] ?? '')
      .split(/\s+/)
      .filter((part) => part !== '')
      .map((part) => part.replaceAll(/^(['"])(.*)\1$/g, '$2'));
  return [word.replaceAll(/\$\{(\w+)\}/g, (_, name: string) => environment[name] ?? '')];
}

/** The value of an option, of which dockerd takes the last. */
function optionValue(argv: readonly string[], names: readonly string[]): string | undefined {
  return optionValues(argv, names).at(-1);
}

function optionValues(argv: readonly string[], names: readonly string[]): string[] {
  return argv.flatMap((word, index) =>
    names.flatMap((name) => {
      if (word.startsWith(`${name}=`)) return [word.slice(name.length + 1).replaceAll(/^(['"])(.*)\1$/g, '$2')];
      return word === name ? argv.slice(index + 1, index + 2) : [];
    }),
  );
}

/** Parses the argv of `systemctl show --property=ExecStart`: `{ path=… ; argv[]=/usr/bin/dockerd -H fd:// ; … }`. */
export function parseExecStart(text: string): string[] {
  const match = /argv\[\]=(.*?) ; ignore_errors=/.exec(text);
  return match?.[1]?.split(' ').filter((word) => word !== '') ?? [];
}

/** Parses `systemctl show --property=Environment`, words of NAME=value, quoted where a value holds spaces. */
export function parseEnvironment(text: string): Record<string, string> {
  const environment: Record<string, string> = {};
  for (const [, quoted, plain] of text.matchAll(/"([^"]*)"|(\S+)/g)) {
    const word = quoted ?? plain ?? '';
    const at = word.indexOf('=');
    if (at > 0) environment[word.slice(0, at)] = word.slice(at + 1);
  }
  return environment;
}

/** Parses a file of `EnvironmentFile=`: NAME=value lines, quoted or not, and comments (systemd.exec(5)). */
export function parseEnvironmentFile(text: string): Record<string, string> {
  return parseEnvironment(text.replaceAll(/^\s*[#;].*$/gm, '').replaceAll(/^(\w+)=(["'])(.*)\2\s*$/gm, '"$1=$3"'));
}

/**
 * The paths of `systemctl show --property=EnvironmentFiles`, one line each: `/etc/default/docker (ignore_errors=yes)`.
 */
export function environmentFiles(lines: readonly string[]): string[] {
  return lines.flatMap((line) => /^(\/.+) \(ignore_errors=(?:yes|no)\)$/.exec(line)?.[1] ?? []);
}
