import { programHelp, type CommandHelp, type OptionHelp, type ProgramHelp, type ValueKind } from './program-help.ts';

const MADE = 'Made from the command line of docker-preloader: change that instead.';

const flagsOf = ({ short, long }: OptionHelp): string[] => [...(short === undefined ? [] : [short]), long];
const choicesOf = (value: ValueKind | undefined): readonly string[] => (value?.kind === 'choice' ? value.choices : []);
const single = (text: string): string => `'${text.replaceAll("'", String.raw`'\''`)}'`;
/** Short enough for a list beside the words, and without what the words themselves say. */
const brief = (text: string): string => text.replace(/ \((choices|default): .*$/s, '').split(/; |\.$/)[0] ?? text;

/** For bash 4 and later, without the functions of bash-completion. */
export function bashCompletion(help: ProgramHelp = programHelp()): string {
  const { name, commands } = help;
  const values = (options: readonly OptionHelp[]): string[] =>
    options
      .filter(({ value }) => value.kind !== 'none')
      .map((option) => `    ${flagsOf(option).join('|')}) ${bashValue(option.value)}; return ;;`);
  const cases = commands.map(({ name: command, options, argument }) =>
    [
      `  ${command})`,
      `    case $previous in`,
      ...values(options).map((line) => `  ${line}`),
      `    esac`,
      `    if [[ $word == -* ]]; then words=${single(options.flatMap(flagsOf).join(' '))}`,
      argument?.kind === 'file' ? `    else files=1` : `    else words=`,
      `    fi ;;`,
    ].join('\n'),
  );
  return `# bash completion of ${name}. ${MADE}
_docker_preloader() {
  local word=\${COMP_WORDS[COMP_CWORD]} previous=\${COMP_WORDS[COMP_CWORD-1]} command= words= files= index
  COMPREPLY=()
  for ((index = 1; index < COMP_CWORD; index++)); do
    if [[ \${COMP_WORDS[index]} != -* ]]; then command=\${COMP_WORDS[index]}; break; fi
  done
  case $command in
  '') words=${single([...commands.map((command) => command.name), ...help.options.flatMap(flagsOf)].join(' '))} ;;
${cases.join('\n')}
  esac
  if [[ $files ]]; then _docker_preloader_files; else mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word"); fi
}
_docker_preloader_files() {
  compopt -o filenames 2>/dev/null
  mapfile -t COMPREPLY < <(compgen -f -- "$word")
}
complete -F _docker_preloader ${name}
`;
}

function bashValue(value: ValueKind): string {
  if (value.kind === 'file') return '_docker_preloader_files';
  return value.kind === 'choice'
    ? `mapfile -t COMPREPLY < <(compgen -W ${single(value.choices.join(' '))} -- "$word")`
    : ':';
}

/** For zsh's compsys. */
export function zshCompletion(help: ProgramHelp = programHelp()): string {
  const described = help.commands.map(({ name, description }) => `    ${single(`${name}:${brief(description)}`)}`);
  const cases = help.commands.map(
    ({ name, options, argument }) => `    (${name})
      _arguments -s -S ${[...options.map(zshOption), ...(argument?.kind === 'file' ? ["'*: :_files'"] : [])].join(' \\\n        ')} ;;`,
  );
  return `#compdef ${help.name}
# zsh completion of ${help.name}. ${MADE}
local curcontext=$curcontext state line
typeset -A opt_args
local -a commands
commands=(
${described.join('\n')}
)
_arguments -C ${help.options.map(zshOption).join(' ')} '1: :->command' '*:: :->argument'
case $state in
  (command) _describe -t commands command commands ;;
  (argument)
    case $line[1] in
${cases.join('\n')}
    esac ;;
esac
`;
}

function zshOption(option: OptionHelp): string {
  const text = brief(option.description).replaceAll(/[[\]\\]/g, String.raw`\$&`);
  const action =
    option.value.kind === 'file'
      ? ': :_files'
      : option.value.kind === 'choice'
        ? `: :(${option.value.choices.join(' ')})`
        : option.value.kind === 'other'
          ? ': : '
          : '';
  const flags = flagsOf(option);
  // An option with a value may be repeated. Its two names exclude each other.
  const names = flags.map((flag) =>
    single(
      `${flags.length > 1 ? `(${flags.join(' ')})` : ''}${option.value.kind === 'none' ? '' : flags.length > 1 ? '' : '*'}${flag}[${text}]${action}`,
    ),
  );
  return names.join(' ');
}

/** For fish 3 and later. */
export function fishCompletion(help: ProgramHelp = programHelp()): string {
  const { name, commands } = help;
  const line = (condition: string, ...rest: readonly string[]): string =>
    ['complete', '-c', name, '-n', single(condition), ...rest].join(' ');
  const none = '__fish_use_subcommand';
  const all = commands.flatMap((command) => {
    const seen = `__fish_seen_subcommand_from ${command.name}`;
    return [
      ...command.options.map((option) => line(seen, ...fishOption(option))),
      ...(command.argument?.kind === 'file' ? [line(seen, '-F')] : []),
    ];
  });
  return [
    `# fish completion of ${name}. ${MADE}`,
    `complete -c ${name} -f`,
    ...help.options.map((option) => line(none, ...fishOption(option))),
    ...commands.map((command: CommandHelp) => line(none, '-a', command.name, '-d', single(brief(command.description)))),
    ...all,
    '',
  ].join('\n');
}

function fishOption(option: OptionHelp): string[] {
  const { value, short, long } = option;
  const what =
    value.kind === 'file'
      ? ['-r', '-F']
      : value.kind === 'none'
        ? []
        : ['-x', ...(value.kind === 'choice' ? ['-a', single(choicesOf(value).join(' '))] : [])];
  return [
    ...(short === undefined ? [] : ['-s', short.slice(1)]),
    '-l',
    long.slice(2),
    ...what,
    '-d',
    single(brief(option.description)),
  ];
}
