# Types each line of its input, and then a tab, into a zsh of its own, and prints what that made of it.
# $1: the folder of the completion; $2: a file to speak through; $3: the folder to complete in
zmodload zsh/zpty
zpty driven zsh -f -i
zpty -w driven "fpath=($1 \$fpath); PS1= RPS1=; autoload -U compinit; compinit -u -D; dump() { print -r -- \"\$BUFFER\" > $2.new; mv $2.new $2; BUFFER= }; zle -N dump; bindkey '^T' dump; bindkey '^I' complete-word; cd $3; : > $2.ready"
until [[ -e $2.ready ]]; do sleep 0.02; done
while IFS= read -r line; do
  zpty -n -w driven "$line"$'\t\x14'
  until [[ -e $2 ]]; do sleep 0.02; done
  cat $2
  rm $2
done
zpty -d driven
