import { DEFAULT_CONFIG_PATH, type Config } from '../../config/config.ts';
import { states } from '../../status/state.ts';
import { codes } from '../../messages/codes.ts';
import { VERSION } from '../../version.ts';
import { programHelp, type CommandHelp, type OptionHelp } from './program-help.ts';
import { configHelp } from './config-help.ts';
import { configSchema } from './config-schema.ts';
import { manPage, type Block } from './roff.ts';

const source = `docker-preloader ${VERSION}`;
const manual = 'docker-preloader';

const section = (text: string): Block => ({ kind: 'section', text });
const paragraph = (text: string): Block => ({ kind: 'paragraph', text });
const item = (term: string, text: string): Block => ({ kind: 'item', term, text });

/** docker-preloader(8), from the program's own help, the states and the codes. */
export function commandPage(date: Date): string {
  const help = programHelp();
  return manPage({
    title: help.name,
    section: 8,
    date,
    source,
    manual,
    blocks: [
      section('Name'),
      paragraph(`${help.name} - Docker images that are already there when dockerd starts`),
      section('Synopsis'),
      paragraph(`\`${help.name}\` [options] [command]`),
      section('Description'),
      paragraph(
        `${help.description} Disks are made by \`docker-preloader build\` and found by their label; the unit \`docker-preloader.service\` starts \`docker-preloader run\` before docker.service.`,
      ),
      section('Options'),
      ...help.options.map(optionItem),
      section('Commands'),
      ...help.commands.flatMap(commandBlocks),
      section('Exit status'),
      item('0', 'Done.'),
      item('1', 'Failed.'),
      item('2', 'Wrong usage or configuration.'),
      item('3', 'Done but degraded: something was left out.'),
      section('States'),
      paragraph('The result of `run` and `apply`, which `status`, `plan` and `verify` also report:'),
      ...Object.entries(states).map(([state, { meaning, exitStatus }]) =>
        item(state, `${meaning} (exit status ${exitStatus}).`),
      ),
      section('Codes'),
      paragraph(
        'Each finding and error has one, by which the journal can be searched: `journalctl PRELOADER_CODE=CODE`.',
      ),
      ...Object.entries(codes).map(([code, { effect, meaning }]) =>
        item(code, `${meaning}.${effect === 'none' ? '' : ` The result is ${effect}.`}`),
      ),
      section('Files'),
      item(DEFAULT_CONFIG_PATH, 'The configuration, see `docker-preloader-config`(5).'),
      item('/run/docker-preloader/status.sock', 'Where the daemon serves its status, JSON over HTTP.'),
      item('/run/docker-preloader/status.json', 'The same, as it was when Docker could start.'),
      item('/run/docker-preloader/disks', 'Where disks are mounted, with a folder for each label.'),
      item(
        '/usr/share/docker-preloader/docker.service.d-strict.conf',
        'A drop-in for docker.service, with which Docker does not start without its images.',
      ),
      section('See also'),
      paragraph(
        '`docker-preloader-config`(5), `systemctl`(1), `journalctl`(1), and /usr/share/doc/docker-preloader/README.md',
      ),
    ],
  });
}

function commandBlocks({ usage, description, options, examples }: CommandHelp): Block[] {
  return [
    { kind: 'subsection', text: usage.replace(' [options]', '') },
    paragraph(description),
    ...options.map(optionItem),
    paragraph(examples.length === 1 ? 'Example:' : 'Examples:'),
    { kind: 'example', lines: examples },
  ];
}

function optionItem({ term, description }: OptionHelp): Block {
  return item(term, description);
}

/** docker-preloader-config(5), from what the file is checked with. */
export function configPage(date: Date): string {
  return manPage({
    title: 'docker-preloader-config',
    section: 5,
    date,
    source,
    manual,
    blocks: [
      section('Name'),
      paragraph('docker-preloader-config - configuration of docker-preloader'),
      section('Synopsis'),
      paragraph(`\`${DEFAULT_CONFIG_PATH}\``),
      section('Description'),
      paragraph(
        'A JSON object. Without the file, all defaults apply. Unknown keys and wrong types are refused by name. Of each key, the last of these sources that says it counts, and a list takes the place of a list; `docker-preloader config` prints what holds. `--config` takes the place of the files alone. Of one key, a list is written with commas.',
      ),
      item('/usr/lib/docker-preloader/config.json', 'Of whoever made the image of the machine.'),
      item(DEFAULT_CONFIG_PATH, 'Yours.'),
      item(`${DEFAULT_CONFIG_PATH}.d/*.json`, 'The same, in the order of their names.'),
      item('Credential docker-preloader.config', 'The same JSON, from outside of the machine (`systemd.exec`(5)).'),
      item('Credential docker-preloader.KEY', 'The value of one key.'),
      item(
        'docker_preloader.KEY=VALUE',
        "The same on the kernel's command line. It does not count in a container, which sees that of its host.",
      ),
      section('Keys'),
      ...configKeys().map(({ key, type, defaultText, meaning }) =>
        item(`${key} (${type})`, `${meaning}. Default: ${defaultText}.`),
      ),
      section('Example'),
      {
        kind: 'example',
        lines: JSON.stringify(
          { labels: ['dpl-*', 'site-images'], required: ['site-images'], deviceTimeoutSec: 30 },
          undefined,
          2,
        ).split('\n'),
      },
      section('See also'),
      paragraph('`docker-preloader`(8), `systemd.exec`(5), `kernel-command-line`(7)'),
    ],
  });
}

interface ConfigKey {
  readonly key: string;
  readonly type: string;
  readonly defaultText: string;
  readonly meaning: string;
}

/** The keys in the order of the schema, with the text about each. */
export function configKeys(): ConfigKey[] {
  return Object.entries(configSchema().properties).map(([key, property]) => {
    const { meaning, otherwise } = configHelp[key as keyof Config];
    const defaultText = property.default === undefined ? otherwise : `\`${JSON.stringify(property.default)}\``;
    if (defaultText === undefined)
      throw new Error(`Expected a default for the key ${key} of the configuration, found none`);
    return {
      key,
      type: property.enum?.join(' or ') ?? (property.type === 'array' ? 'array of strings' : property.type),
      defaultText,
      meaning,
    };
  });
}
