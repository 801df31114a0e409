#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# A pipeline of four processes: the ticker ($1), cat, sed and a shell loop,
# each line crossing three pipes. The last one prints every record that
# arrives, so a line that is lost, doubled or torn shows in its numbers.
"$1" -i 5000 | cat -u | sed -u 's/^clk/clk/' | while IFS= read -r line; do
	printf '%s\n' "$line"
done
