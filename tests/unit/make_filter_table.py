#!/usr/bin/python3
"""Writes filter_table.h and filter_regex_table.h: what mitmproxy's flowfilter and Python's `re` answer.
Run by hand when a table gets new rows; what it wrote is part of the project.

    tests/unit/make_filter_table.py
"""
import pathlib
import random
import re
import warnings

from mitmproxy import flowfilter
from mitmproxy.test import tflow, tutils

HERE = pathlib.Path(__file__).parent

SUBJECTS = [
    "", "a", "b", "A", "ab", "aab", "abab", "abc", "a\n", "a\nb", "\n", "\na\n", "1", "a1", "_a b", " ", "{1}", "a{,}",
    "i", "I", "k", "K", "é", "aÉb", "İ", "ı", "ſ", "K", "ß", "αΩ", "\x00", "\x08", "\x1c", "-", "#", "[:", "x:]", "aaaaaa",
    "R", "Qa", "\u0663", "\u2003", "a\u0301",
]  # fmt: skip
SUBJECTS = [text.encode() for text in SUBJECTS] + [b"\xff", b"a\xffb", b"\xc3", b"\x85", b"\xed\xb2\x80"]

# What PCRE2 takes otherwise than Python, or takes and Python refuses, or refuses and Python takes.
PATTERNS = r"""
a|b  ^a  a$  ^$  \Aa  a\Z  a\z  \Z  ^\n  (?m)^$  (?m)a$  (?m)^a  $\n  \n^  (?m)\n^  a.b  (?s)a.b  .  \N  \R  \X  \C  \K  \G  \h
\H  \V  \Qa\E  \Q  \E  \e  \a  \ca  \p{L}  \pL  \g1  \k<n>  \o{101}  \-  \/  \_  \%  \x41  \x4  \x{41}  \xff  \u0041  \u041
\U00000041  \U00110000  \0  \07  \012  \101  \400  \08  \8  (a)\1  (a)\2  (a)|\1  (a\1)  (a)(b)\12  \d  \D  \w  \W  \s  \S
\b  \B  a\b  \ba  a\B  [\b]  [\d]  [\W]  [^\W]  [^\w]  [\s\S]  [\d-z]  [a-\d]  [z-a]  [a-]  [-a]  [a\-z]  []a]  [^]a]  []  [^]  [a
[[:alpha:]]  [[:digit:]x]  [[a]  [[a]]  [a&&b]  [a--b]  [\101]  [\400]  [\8]  [\1]  [\x41]  [\x]  [\N]  [\B]  [\Z]  [^a]  [^\n]
[a-zé]  [i-k]  [^i]  [^k]  [h-j]  [^h-j]  [A-z]  [\x80-\xff]  [^\x00-\x7f]  é  É  [é]  ß  ẞ  ſ  K  İ  ı  i  I  k  [K]  Ω
a*  a+  a?  a{2}  a{2,}  a{,2}  a{,}  a{}  a{  a{1  a{1,  a{x}  {1}  {  }  {}  {,}  a{2,1}  a{0}  a{65535}  a{4294967295}
a{2}{3}  a**  a*?  a+?  a??  a*+  a++  a?+  a{1,2}?  a{1,2}+  a*+a  a++b  (?>a*)a  (?>a|ab)b  (?>a*)b  a+*  *a  +  ?  ^*  $*  \b*
\A+  (*a)  (?*a)  (|*)  (?:^)*  (?=a)*  (?=a)+b  (?!a)*  (a*)*  (a*)+  (?:)*  ()*  a|*  (?:a|b){0}c  (?=(?:a|b){0})  (b*)(?>x?)b  (b*)(?>(x)?)b  (b*)(?:x)?+[a-c]
(a  a)  )  (  ()  (?:a  (?:a)  (?P<n>a)  (?P<n>a)(?P=n)  (?P<n>a)(?P<n>b)  (?P<1>a)  (?P<>a)  (?P<n  (?P<n-m>a)  (?P<é>a)  (?P=n)
(?P=n  (?P>n)  (?P<n>(?P=n))  (?P  (?Pn)  (?<n>a)  (?'n'a)  (?|a|b)  (?R)  (?0)  (?1)  (?&n)  (?+1)  (?-1)  (*FAIL)  (*ACCEPT)
(*UTF)a  (*LF)a  a(*COMMIT)  (?C)  (?C1)a  (?#a  (?#a)  a(?#b)*  (?#a\)b)c  (?{a})  (??{a})  (?  (?)  (?a  (?i  (?i)  (?i)A  a(?i)B
(?i:A)b  (?-i:A)b  (?-i:K)  (?i-i:a)  (?-i)a  (?-)  (?-:a)  (?i-:a)  (?s-m:a.b)  (?ims:A)  (?^i:a)  (?x)a\ b  (?x:a b)c
(?x)[a\ ]b  (?J)a  (?U)a+  (?n)a  (?xx)a  (?L)a  (?u)\w  (?a)\w  (?a)\W  (?a)[\W]  (?a:\w)  (?u:\w)  (?au)a  (?a)(?u)a  (?-a:a)
(?a)k  (?a)[k]  (?ai)ſ  (?a:[^k])  (?t)a  (?i)(?s)a.B  (?#c)(?i)A  ((?i)a)  a|(?i)b  (?=a)  (?!a)  (?=a)a  (?<=a)b  (?<!a)b
(?<=a|b)b  (?<=a|bc)b  (?<=a*)b  (?<=a{2})b  (?<=a+)b  (?<=a?)b  (?<=^a)b  (?<=(a))b  (a)(?<=\1)b  (?<=(a)\1)b  (a)(?<=(?P<n>a))b
(?<=(?:ab|ba))a  (?<=(?:a|bc))a  (?<=)a  (?<!)a  (?<a)  (?<  (?<=a  (?(1)a|b)  (a)?(?(1)b|c)  (a)?(?(1)b)  (a)(?(1)b|c|d)  (?(0)a)
(?(n)a)  (?P<n>a)?(?(n)b|a)  (?(?=a)a|b)  (?(R)a)  (?(-1)a)  (?(+1)a)  (?(DEFINE)a)  (?(<n>)a)  ((?(1)a|b))  (?(2)a|b)()  (?(1
(?(1)a  (?(1)a|  \  a\  [\  (?#\  \\  [\\]  [\]]  [^\]]  [a\]b]  a||b  |a  a|  |  (|a)  ^^a  a$$  $a  a^b  (?m)a$\n^b  (?i)
(?i)[^A]  .*  .*a  .*?b  (?:a|ab)(?:c|bcd)(?:d*)  (a+|b+)*c  x*  (?P<a>a)(?P<b>b)(?P=b)  \"  \'  \<  \>  \~  \`  \@  \:  \é  \�
""".split()  # fmt: skip
PATTERNS += ["", "a b", " ", "(?x) a # b\n b", "(?x)a#\\", "(?x)# a\\\nb\na", "(?x) a {2}", "(?x)a + ?", "(?x)[ ]", "(?x:a #)\n)"]
PATTERNS += ["[a b]", "\n", "a\nb", "[\n]", "\t", "\\\n", "\x00", "a(?x) b", "(?x)(?-x: )", "(?x)\\1 2", "(?x)(a)\\1 2", "(?P<n> a)"]
PATTERNS += ["(" * 30 + "a" + ")" * 30, "(?:" * 60 + "a" + ")*" * 60, "()" * 120 + "\\99", "()" * 99 + "\\100"]

MODES = [("TEXT", "FOLD"), ("TEXT", "MULTILINE"), ("BYTES", "FOLD", "DOT_ALL"), ("BYTES", "MULTILINE")]
FLAGS = {"FOLD": re.I, "MULTILINE": re.M, "DOT_ALL": re.S}


def literal(data):
    """A C string literal; three octal digits end an escape."""
    text = ""
    for byte in data:
        if byte in b'"\\?':
            text += "\\" + chr(byte)
        elif 0x20 <= byte < 0x7F:
            text += chr(byte)
        else:
            text += "\\%03o" % byte
    return '"' + text + '"'


def answers(pattern, mode):
    """A y or n for each subject, or None if Python refuses the pattern."""
    text = mode[0] == "TEXT"
    flags = re.NOFLAG
    for name in mode[1:]:
        flags |= FLAGS[name]
    try:
        compiled = re.compile(pattern if text else pattern.encode(), flags)
    except Exception:
        return None
    # Refused by later versions, and so here.
    if "(?t)" in pattern or not text and "(?P<é" in pattern:
        return None
    return "".join(
        "y" if compiled.search(subject.decode("utf-8", "surrogateescape") if text else subject) else "n"
        for subject in SUBJECTS
    )


def regex_rows():
    lines = ["static const struct bytes regex_subjects[] = {"]
    lines += [f"    ITEM({literal(subject)})," for subject in SUBJECTS]
    lines += ["};", "", "static const struct {", "    struct bytes pattern;", "    unsigned mode;"]
    lines += ["    const char *answers; /* for each subject; NULL: refused */", "} regex_table[] = {"]
    for pattern in PATTERNS:
        for mode in MODES:
            found = answers(pattern, mode)
            shown = f'"{found}"' if found else "NULL"
            lines.append(f"    {{ITEM({literal(pattern.encode())}), {' | '.join(mode)},\n     {shown}}},")
    return lines + ["};"]


# Flows for the grammar: all that differs is the path and whether there is a response.
PATHS = ["/", "/a", "/b", "/ab", "/d", "/a&b", "/!", "/|", "/a|b", "/&", '/a"b', "/\\", "/a     b"]

EXPRESSIONS = r"""
a b|a & b|a&b|a | b|!a|! a|!!a|!!|!|! !|a !|a & !|& a|a &|a & &|a & & b|a &b|a| b|(a)|(a b)|(a)(b)|(a) b|( a )|((a))|(a|a)|)|(|()
!(a)|!(a)b|!a b|!a & b|!(a & b)|! (a | b) & d|a | b & d|a & b | d|(a | b) & d|a b | d|a | b d|a & (b|~q|~q |~q a|~q&~s|~q & ~s|(~q)
(~q )|!~q|! ~q|!~q | ~s|~s & !a|~u a|~ua|~u  a|~u|~u ~q|~u (a)|~u "a"|~u"a"|~u 'a'|"a"|'a'|"a""b"|"a"b|a"b"|"a|'a"|"a'|'a\'|'a\\'
"a\"b"|'a"b'|"\\\\"|"\\"|"\a"|"\n"|"a b"|"a & b"|"(a)"|"~q"|~c 200|~c  200|~c 200 a|~c 2 00|~c 200a|~c200|~c a|~c -1|~c +1|~c "200"
~c|~c 0200|~c 00000000000000000000000200|~c 99999999999999999999999999|~all|~all a|~allx|~al|~a|~ALL|~|~ q|~~q|~q~s|~q ~s|~q(a)|~q (a)
~m GET|~m get|~m "^g"|~m !GET|~m & ~q|~m GET & a|~m GET&a|~http|~tcp|~dns|~websocket|~e|~marked|~replay|~replayq|~replays
a~q|a ~q|a(b)|(a)b|[|"["|[a]|a*|*|+a|~u [|(a|!(|!()|!)|(!)|(! )|(!a)|(a !)|(a &)|(a & !)|(& a)|(&)|(|)|a & | b|a | | b|a | & b|| a|& | &
""".strip().replace("\n", "|~SPLIT~|")  # fmt: skip


def expressions():
    # Between the expressions above stands a bar without spaces; those with such a bar follow here.
    split = [item for item in EXPRESSIONS.replace("|~SPLIT~|", "\0").replace("|", "\0").split("\0")]
    split += ["a | b", "a | b & d", "a & b | d", "(a | b) & d", "a b | d", "a | b d", "! (a | b) & d", "!~q | ~s", "a|b"]
    split += ["(a|a)", "a| b", "a |b", "a | | b", "a | & b", "a & | b", "| a", "|", "& | &", "(|)", "a |", "(a | b)", "!a | !b & !d"]
    split += ["a\tb", "a\t&\tb", '"a\tb"', '"/a\tb"', '"é|a\tb"', '"\n" "/a\tb"', "a\nb", "a\n& b", '"a\nb"', " a", "a ", "\ta", "~q\t", "~q\n~s", "a\rb", "a\x0bb", "a\xa0b"]
    split += ["~qé", "~ué", "é", '"\\é"', "~q\x0b", "", " ", "\n", "(" * 3 + "a" + ")" * 3, "!" * 5 + "a", "! " * 4 + "a"]
    chance = random.Random(5)
    pieces = ["a", "b", "d", "&", "|", "!", "(", ")", " ", " ", " ", " & ", " | ", "~q", "~s ", "~c 200", "~u ", '"', "'", "\\", "a"]
    split += ["".join(chance.choice(pieces) for _ in range(chance.randint(2, 9))) for _ in range(400)]
    return list(dict.fromkeys(split))


def make_flow(path, response):
    request = tutils.treq(host="0.0", port=80, path=path.encode(), headers=())
    return tflow.tflow(req=request, resp=response and tutils.tresp())


def grammar_rows():
    flows = [make_flow(path, response) for response in (True, False) for path in PATHS]
    lines = ["static const char *const grammar_paths[] = {"]
    lines += [f"    {literal(path.encode())}," for path in PATHS]
    lines += ["};", "", "static const struct {", "    struct bytes expression;"]
    lines += ["    const char *answers; /* for each path with a response, then without; NULL: refused */", "} grammar_table[] = {"]
    for expression in expressions():
        try:
            parsed = flowfilter.parse(expression)
        except ValueError:
            parsed = None
        shown = "NULL"
        if parsed:
            shown = '"' + "".join("y" if parsed(flow) else "n" for flow in flows) + '"'
        lines.append(f"    {{ITEM({literal(expression.encode())}),\n     {shown}}},")
    return lines + ["};"]


def write(name, guard, about, lines):
    text = [f"/* {about}", " * Made by make_filter_table.py. */", f"#ifndef {guard}", f"#define {guard}", ""]
    text += ["/* clang-format off */", "#define ITEM(text) {(const uint8_t *)(text), sizeof(text) - 1}", ""]
    text += lines + ["/* clang-format on */", "", "#endif", ""]
    (HERE / name).write_text("\n".join(text))


def main():
    warnings.simplefilter("ignore")
    modes = ["enum { BYTES = 0, TEXT = 1, FOLD = 2, MULTILINE = 4, DOT_ALL = 8 };", ""]
    write(
        "filter_regex_table.h",
        "FLOWFS_TESTS_FILTER_REGEX_TABLE_H",
        "Patterns, and what Python's re finds in which subjects.",
        modes + regex_rows(),
    )
    write(
        "filter_table.h",
        "FLOWFS_TESTS_FILTER_TABLE_H",
        "Filter expressions, and what mitmproxy matches with them.",
        grammar_rows(),
    )


if __name__ == "__main__":
    main()
