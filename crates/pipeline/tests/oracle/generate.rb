# Answers of Ruby's own YAML library (Psych) and File.fnmatch, which GitLab uses, for tests/oracle.rs.
# Run once with any Ruby 3: `ruby generate.rb` in this directory. The answers are kept beside this file.

require "yaml"
require "json"

def load(text)
  YAML.safe_load(text, permitted_classes: [Symbol], aliases: true)
end

# A value as JSON; what JSON cannot hold is shown as text.
def plain(value)
  case value
  when Symbol then value.to_s
  when Float then value.finite? ? value : value.to_s
  when Hash then value.to_h { |k, v| [k.nil? ? "" : k.to_s, plain(v)] }
  when Array then value.map { |v| plain(v) }
  else value
  end
end

def answer(text)
  JSON.generate(plain(load(text)))
rescue Psych::Exception, ArgumentError, SystemStackError
  "error"
end

scalars = <<~'END'.split

  yes Yes YES yEs no No NO on On ON off Off OFF true True TRUE tRUE false False FALSE y Y n N t f
  ~ null Null NULL nULL nil none
  = - -- --- . .. + : :a :A_b :a-b a:b a: ::a :1 :: /x/ ./x ../x $X ${X} x$ @x `x %x !x &x *x |x >x ?x #x ,x [x {x
  .inf .Inf .INF -.inf +.inf .nan .NaN .NAN inf nan
  0 00 07 08 09 017 018 012345 0x1F 0X1F 0x 0xG 0b11 0b12 0B1 0o17 0o8 1e3 1E3 1e+3 1.e3 1.0e3 1.5e-3 1.5E3 .5 5. 5.e .5e1 . -.5 +.5
  1_000 1__000 _1 1_ 1_000.5 1,000 1,00,0 ,1 1, 1,000.5 1.000,5 1.2.3 1-2 1+2 1/2 0.0 -0 +0 -0.0 0x_1 0x1_F 0b1_1 01_7
  1:30 1:30:15 12:34:56 1:60 1:99 01:30 1:3 0:30 -1:30 +1:30 1:30.5 1:30:15.5 190:20:30 190:20:30.15 60:00 1:2:3:4 24:00
  2024-01-01 2024-1-1 24-01-01 2024-13-01 2024-01-32 2024-01 20240101 2024-01-01T12:00:00Z 2024-01-01t12:00:00.5Z 2024-01-01T12:00:00+02:00 2024-01-01T12:00 12:00:00 12:00
  1.2 1.20 3.10 10.0 1e 1a a1 0a 123456789012345678901234567890 9223372036854775807 9223372036854775808 0777777777777777777777777 1e400 1.0e400
  foo foo-bar foo.bar foo/bar foo:bar http://x.y/z a,b a#b a|b a>b a!b a&b a*b a%b a@b é ünï 日本

END
scalars += ["2024-01-01 12:00:00", "2024-01-01 12:00:00 Z", "2024-01-01 12:00:00.123 +01:00", "a b", "a: b", "a #b", "1 000", "x y: z", "'it''s'", "''", '""', '"a\\tb"', '"a\\x41"',
            '"\\u00e9"', '"\\/"', '"\\q"', "'a\\tb'", "!!str 1", "!!str yes", "!!str", "!!int '1'", "!!float '1'", "!!bool 'yes'", "!!null x", "!!binary aGVsbG8=", "!unknown x", "!unknown 1", "!!set {a}",
            "!!omap [a: 1]", "! 1", "! yes", ":sym", ":'a b'", ':"a b"', "'yes'", '"017"', "- x", "[1, 2]", "{a: 1}", "[a, b: c]", "[]", "{}", "[,]", "{a}", "{a:}", "{a: }", "{a:1}", "[a:1]", "{'a':1}", "{\"a\":1}", "[:a]", "[:a, b]", "{x: :a}", "{:a: 1}", "[x: :a]", "? a", "|", ">", "|-", "&a 1", "*a", "%", "@", "`", "a:\tb", "a\t#b", "\ta"]
signs = ["", "+", "-"]
digits = %w[0 7 8 1 10 077 089 0x1f 0b10 1_0 1,0 0_7 1.5 1.5_0 1_0.5 1,0.5 .5 5. 1.5e3 1e3 1:05 1:5 1:30:00 1:30:00.25 1:75]
signs.product(digits).each { |s, d| scalars << s + d }
signs.product(digits).each { |s, d| scalars << s + d + "_" << s + d + "x" << s + s + d }
File.write("scalars.txt", scalars.uniq.map { |s| "#{JSON.generate(s)}\t#{answer("v: #{s}\n")}\n" }.join)

merges = []
pieces = ["A: own", "<<: *a", "<<: *b", "<<: [*a, *b]", "<<: [*b, *a]", "B: own", "\"<<\": *a", "<<: text", "<<: {A: in, C: in}", "<<: [*a, {D: in}]", "<<: []", "<<: ", "A: again", "<<: [text]"]
(1..3).each do |n|
  pieces.permutation(n) do |list|
    next if n == 3 && (list.join.hash.abs.zero? || !(list.join.include?("*a") && list.join.include?("own")))
    merges << ".a: &a {A: a, B: a, E: a}\n.b: &b {A: b, B: b, F: b}\nj:\n" + list.map { |p| "  #{p}\n" }.join
  end
end
documents = merges.each_slice(1).map(&:first).uniq
documents += ["a: 1\na: 2\n", "a: {x: 1}\na: {y: 2}\n", "a: &x 1\nb: *x\na: &x 2\nc: *x\n", "a: &x [1]\nb: [*x, *x]\n", "? a\n: b\n", "? [a]\n: b\n", "1: a\ntrue: b\n~: c\n1.5: d\n", "a: |\n  x\n\n  y\n\n", "a: |+\n  x\n\n", "a: |-\n  x\n\n",
              "a: >\n  x\n  y\n\n  z\n   w\n", "a: >-\n  x\n  y\n", "a: |2\n    x\n", "a: 'x\n  y\n\n  z'\n", "a: \"x\\\n  y\"\n", "a: x\n  y\n", "a:\n- b\n- c\n", "a:\n  - b\n  -\n    - c\n", "a: [b,\n  c]\n", "a: {b: c,\n  d: e}\n", "a: # x\n  b\n", "a: b # c\n",
              "a: b#c\n", "\uFEFFa: b\n", "a: b\r\nc: d\r\n", "%YAML 1.1\n---\na: b\n", "a: b\n...\n", "a: b\n...\nc: d\n", "a\tb: c\n", "a: b\n  c: d\n", "a: [\n", "a: ]\n", "a: }\n", "- a\nb: c\n", "a: b\n- c\n", "a: &x\n", "a: &x b\nc: {<<: *x}\n", "a: &x [1]\nc: {<<: *x}\n", "a: *b\n", "a: &a {b: *a}\n"]
File.write("documents.txt", documents.uniq.map { |d| "#{JSON.generate(d)}\t#{answer(d)}\n" }.join)

flags = File::FNM_PATHNAME | File::FNM_DOTMATCH | File::FNM_EXTGLOB
patterns = <<~'END'.split
README.md *.md *.* * ** **/* **/*.rb docs/* docs/** docs/**/* docs/**/ **/docs/** **/docs/**/* a/**/b a/**b a**/b a/*/b a/*/*/b ./a /a a/ docs docs/ {a,b}.txt {a,{b,c}}.txt {a,b c} {,a}b a{,b} {a b} {a},b} {a}{b,c} \{a,b\} a,b
  [ab]x [a-c]x [!a]x [^a]x [a]b] [] [!] [a [a-]x [-a]x [!]]x []a]x ?.md a?b ??? a\*b a\\b \a *a* *a*b* **a **/a **/.x .* .*/* */.* **/.*/** {**/a,b} {docs,src}/**/*.{md,rs} **/{a,b}/* *.{rb,md} a/**/**/b **/**/a a***b ***/a Ä* [ä]x [[:alpha:]]x A* src/*.[ch] *.tar.?z {a..c} {a,b}/{c,d} !a a!b
END
patterns += ["a b", "* b", "[a-c-e]x", "[c-a]x", "[a\\-c]x", "[\\]]x", "[/]", "a[/]b", "a?b/c", "*/", "**/a/", "{a/,b/}c", "{a", "a}", "{a,b", "a,b}", "{}", "{,}", "{a,}"]
paths = <<~'END'.split
README.md docs/README.md .x.md a b c a/b a/x/b a/x/y/b a/xb xa/b docs docs/a docs/.b docs/a/b docs/.x/y docs/a/b/c x/docs/y x/docs/y/z a.rb x/y/a.rb a.rbx a.txt b.txt c.txt ax bx cx ]x -x a,b a*b a\b axb ab abc .a .a/b x/.a x/.a/b a/.b src/x.c src/x.h x.tar.gz Ä1 äx {a,b} {a}b {a}c {a a} {} ac bc a/c b/d !a a!b x.md/y a/ ./a /a
END
paths += ["a b", "x b", ""]
answers = patterns.uniq.product(paths.uniq).map { |p, f| [p, f, File.fnmatch(p, f, flags)] }
File.write("fnmatch.txt", answers.group_by(&:first).map { |p, list| "#{JSON.generate(p)}\t#{JSON.generate(list.select(&:last).map { |x| x[1] })}\n" }.join)
File.write("paths.txt", paths.uniq.map { |p| JSON.generate(p) + "\n" }.join)
