"""Abbreviations and sentence openers of languages, beside those of spaCy.

spaCy keeps many abbreviations in one token with their full stop; those count as `rarely_final`
without being listed here.
"""

from dataclasses import dataclass, replace


def words_of(text: str) -> frozenset[str]:
    """Return the words of a list."""
    return frozenset(text.split())


@dataclass(frozen=True)
class Abbreviations:
    """Words that a full stop follows without ending a sentence, in lower case, without the stop.

    Attributes:
      never_final: something always follows ("Mr.", "z.B.").
      before_number: a number follows, or it is a word that ends the sentence ("No. 5").
      rarely_final: they end a sentence only before a word that opens one ("etc.", "usw.").
      list_ends: the language's "etc.", and its units, which end a sentence before any capital.
      number_suffixes: ends of words like `before_number` ("Hauptstr. 5").
      ordinals: "3." is "third" in this language.
    """

    never_final: frozenset[str] = frozenset()
    before_number: frozenset[str] = frozenset()
    rarely_final: frozenset[str] = frozenset()
    list_ends: frozenset[str] = frozenset()
    number_suffixes: tuple[str, ...] = ()
    ordinals: bool = False


ENGLISH_OPENERS = words_of(
    "The A An This That These Those He She It They We I You His Her Its Their Our My Your In On At"
    " From For To With By As After Before During When While Where Although Though Because Since If"
    " But And Or So Then There Here Some Many Most Several However Also Other Another Both Each"
    " One Two Three What Who How Why Not No Yes"
)
# Their letters are often a middle name's owner: "by C. Will".
ENGLISH_NAME_INTRODUCERS = words_of("by of and with from to for von van de")

_EN = Abbreviations(
    never_final=words_of(
        "mr mrs ms messrs dr prof gen gov rep rev sen adm col capt lt sgt hon pres st mt ft vs v.s"
        " e.g i.e cf viz ca approx mme mlle m bros incl excl esp resp maj cmdr supt"
    ),
    before_number=words_of(
        "no nos p pp vol vols ch sec art fig figs eq eqs ed eds nr jan feb mar apr jun jul aug sep"
        " sept oct nov dec"
    ),
    rarely_final=words_of(
        "inc ltd co corp jr sr etc al esq dept univ assn ave blvd ph.d m.d b.a m.a b.c a.d"
        " max min avg temp deg est misc ext tel hr hrs mins secs lb lbs oz yr yrs"
    ),
)
_DE = Abbreviations(
    never_final=words_of(
        "hr hrn fr frl dr prof ing dipl med phil jur rer nat habil st z.b d.h u.a bzw bspw vgl ca"
        " evtl ggf inkl exkl sog mind"
        " max min gegr geb gest s.o s.u i.d.r lt zzgl abzgl einschl insb insbes bes hl nachf"
    ),
    before_number=words_of("nr s bd abb kap art abs tab jg jh jan feb mär apr jun jul aug sep sept"
                         " okt nov dez tel str"),
    rarely_final=words_of("usw etc u.ä o.ä usf co ag jhd n.chr v.chr u.s.w"),
    number_suffixes=("str", "nr"),
    ordinals=True,
)  # fmt: skip
_FR = Abbreviations(
    never_final=words_of(
        "m mm mme mmes mlle mlles dr pr me st ste mgr p.ex c.-à-d cf env av bd ex"
    ),
    before_number=words_of("n no art al p pp vol chap fig janv févr avr juil sept oct nov déc tél"),
    list_ends=words_of("etc"),
    rarely_final=words_of("etc av.j.-c apr.j.-c j.-c s.a"),
)
_ES = Abbreviations(
    never_final=words_of(
        "sr sra srta sres dr dra d dña prof profa lic ing arq gral sto sta p.ej av avda c cía pdte"
    ),
    before_number=words_of("núm nº art pág págs vol cap fig tel ene feb mar abr may jun jul ago"
                           " sept oct nov dic"),
    list_ends=words_of("etc"),
    rarely_final=words_of("etc ee ee.uu uu s.a a.c d.c ud uds vd vds cía"),
)  # fmt: skip
_IT = Abbreviations(
    never_final=words_of(
        "sig sigg dott prof ing avv arch geom on sen mons s p.es es cfr ca sigra gent egr spett"
        " sec"
    ),
    before_number=words_of("n art pag pagg p pp vol cap par fig tel gen feb mar apr mag giu lug ago"
                         " set ott nov dic"),
    list_ends=words_of("ecc etc"),
    rarely_final=words_of("ecc etc s.p.a a.c d.c s.r.l"),
)  # fmt: skip
_PT = Abbreviations(
    never_final=words_of(
        "sr sra srs srta dr dra prof profa eng d exmo exma p.ex av cap ca st sto sta"
    ),
    before_number=words_of("n nº art pág págs vol cap fig tel jan fev mar abr mai jun jul ago set"
                         " out nov dez"),
    list_ends=words_of("etc"),
    rarely_final=words_of("etc ltda cia s.a a.c d.c eua"),
)  # fmt: skip
_NL = Abbreviations(
    never_final=words_of(
        "dhr mevr mw dr prof ir ing mr drs ds st bijv bv o.a d.w.z nl incl excl ca resp m.b.t"
        " t.o.v i.v.m evt vgl z.g"
    ),
    before_number=words_of("nr blz p art fig afb hfst jan feb mrt apr jun jul aug sept okt nov dec"
                         " tel"),
    list_ends=words_of("enz etc e.d"),
    rarely_final=words_of("enz etc e.d e.a b.v n.v chr"),
)  # fmt: skip
_RU = Abbreviations(
    never_final=words_of(
        "г-н г-жа ул пр пл д проф акад им т.е т.к см ср напр св гр тов обл р-н н.э до.н.э т"
    ),
    before_number=words_of("стр с рис табл гл п ст тел кв корп"),
    list_ends=words_of("т.д т.п др ипр руб коп тыс млн млрд"),
    rarely_final=words_of("г гг в вв н.э д п"),
)
_UK = Abbreviations(
    never_final=words_of("м вул пл пров буд проф акад ім т.зв напр див пор св обл р-н т"),
    before_number=words_of("стор с рис табл гл п ст тел кв"),
    list_ends=words_of("т.д т.п ін грн коп тис млн млрд"),
    rarely_final=words_of("р рр ст н.е д п"),
)
_PL = Abbreviations(
    never_final=words_of(
        "p pan dr hab prof mgr inż ks św ul al pl np tzn tzw m.in ok por zob im gen płk red ds wg"
    ),
    before_number=words_of("nr s str rys tab rozdz art ust pkt tel"),
    list_ends=words_of("itd itp etc zł gr tys mln mld"),
    rarely_final=words_of("r w n.e p.n.e"),
    ordinals=True,
)
_CS = Abbreviations(
    never_final=words_of(
        "p pí sl dr prof doc ing arch mgr bc mudr judr phdr sv ul nám tř např tzv tj tzn resp popř"
        " mj cca srov viz gen"
    ),
    before_number=words_of("č str s obr tab kap odst tel"),
    list_ends=words_of("atd apod etc aj kč"),
    rarely_final=words_of("tis mil mld n.l př.n.l"),
    ordinals=True,
)
_SV = Abbreviations(
    never_final=words_of(
        "dr prof bl.a t.ex d.v.s dvs fr.o.m t.o.m s.k ca jfr resp inkl exkl kl st"
    ),
    before_number=words_of("nr s sid kap fig tab tel"),
    list_ends=words_of("osv etc m.m m.fl"),
    rarely_final=words_of("osv etc m.m m.fl f.kr e.kr m.fl o.s.v"),
)
_DA = Abbreviations(
    never_final=words_of("hr fru dr prof bl.a f.eks dvs ca jf inkl ekskl kl skt sct pga mht"),
    before_number=words_of("nr s kap fig tab tlf"),
    list_ends=words_of("osv etc m.m"),
    rarely_final=words_of("osv etc m.m m.fl f.kr e.kr o.l"),
    ordinals=True,
)
_NB = Abbreviations(
    never_final=words_of("hr fru dr prof bl.a f.eks dvs ca jf inkl ekskl kl st pga mht"),
    before_number=words_of("nr s kap fig tab tlf"),
    list_ends=words_of("osv etc m.m"),
    rarely_final=words_of("osv etc m.m m.fl f.kr e.kr o.l"),
    ordinals=True,
)
_FI = Abbreviations(
    never_final=words_of("esim hra rva nti tri prof dos ts ns mm ks vrt n noin"),
    before_number=words_of("nro s kpl kuva luku puh"),
    list_ends=words_of("jne yms ym"),
    rarely_final=words_of("jne yms ym jms eaa jaa eKr jKr tms"),
    ordinals=True,
)
_HU = Abbreviations(
    never_final=words_of("dr prof id ifj özv pl ill ún kb vö ld st"),
    before_number=words_of("sz o old ábra tel"),
    list_ends=words_of("stb"),
    rarely_final=words_of("stb kft rt zrt nyrt i.e i.sz"),
    ordinals=True,
)
_TR = Abbreviations(
    never_final=words_of("dr prof doç av sn bkz örn yrd alb gen st sok cad mah"),
    before_number=words_of("no s sf tel"),
    list_ends=words_of("vb vs"),
    rarely_final=words_of("vb vs a.ş ltd şti m.ö m.s"),
    ordinals=True,
)
_EL = Abbreviations(
    never_final=words_of("κ κα κος κύριος δρ καθ αγ π.χ δηλ βλ πρβλ λ.χ"),
    before_number=words_of("αρ σελ σ εικ κεφ τηλ αριθ"),
    list_ends=words_of("κ.λπ κλπ"),
    rarely_final=words_of("κ.λπ κλπ κ.ά κ.α μ.χ π.χ α.ε ε.ε"),
)
_RO = Abbreviations(
    never_final=words_of("dl d-l dna d-na dr prof ing av sf str bd ex cca sec"),
    before_number=words_of("nr pag p art fig cap tel"),
    list_ends=words_of("etc"),
    rarely_final=words_of("etc ș.a î.hr d.hr s.a s.r.l"),
)

_CA = Abbreviations(
    never_final=words_of("sr sra srta dr dra prof av avda c pl st sta p.ex mn en na"),
    before_number=words_of("núm art pàg pàgs vol cap fig tel"),
    list_ends=words_of("etc"),
    rarely_final=words_of("s.a a.c d.c"),
)
_HR = Abbreviations(
    never_final=words_of("dr prof mr ing sv ul npr tj tzv odn g gđa gosp dipl akad doc usp v"),
    before_number=words_of("br str sl tel čl god"),
    list_ends=words_of("itd itsl kn"),
    rarely_final=words_of("st pr.n.e n.e d.o.o d.d"),
    ordinals=True,
)
_SR = Abbreviations(
    never_final=words_of("др проф мр инж св ул нпр тј тзв г гђа академ доц"),
    before_number=words_of("бр стр сл тел чл год"),
    list_ends=words_of("итд дин"),
    rarely_final=words_of("пр.н.е н.е д.о.о"),
    ordinals=True,
)
_SL = Abbreviations(
    never_final=words_of("dr prof mag ing sv ul npr tj t.j t.i g ga gdč doc akad oz"),
    before_number=words_of("št str sl tel čl"),
    list_ends=words_of("itd ipd"),
    rarely_final=words_of("st pr.n.št n.št d.o.o d.d"),
    ordinals=True,
)
_BG = Abbreviations(
    never_final=words_of("д-р проф доц акад инж г-н г-жа ул бул св напр т.е вж гр им"),
    before_number=words_of("бр стр с чл ал тел фиг"),
    list_ends=words_of("т.н т.нат др лв ст хил млн млрд"),
    rarely_final=words_of("г сл.хр пр.хр"),
)
_LT = Abbreviations(
    never_final=words_of("dr prof doc inž šv g gat pr al pvz t.y t.t plg žr vad"),
    before_number=words_of("nr p psl pav tel str"),
    list_ends=words_of("kt pan etc tūkst mln mlrd"),
    rarely_final=words_of("m d mėn val"),
)
_LV = Abbreviations(
    never_final=words_of("dr prof doc inž sv piem t.i t.s sk g k-gs"),
    before_number=words_of("nr lpp att tel p"),
    list_ends=words_of("utt u.c tml"),
    rarely_final=words_of("gs p.m.ē"),
    ordinals=True,
)
_ET = Abbreviations(
    never_final=words_of("dr prof hr pr nt s.t st vt k.a sh"),
    before_number=words_of("nr lk joon tel"),
    list_ends=words_of("jne jm jt"),
    rarely_final=words_of("saj e.m.a m.a.j"),
    ordinals=True,
)
_ID = Abbreviations(
    never_final=words_of("dr prof ir drs h hj jl gg bpk ibu sdr pt cv a.n u.p"),
    before_number=words_of("no hal tel gbr tgl"),
    list_ends=words_of("dll dsb dst"),
)
_HI = Abbreviations(never_final=words_of("डॉ डा प्रो श्री पं कु"), before_number=words_of("सं नं पृ"))
# Titles that many languages share; for those without a list of their own.
_OTHERS = Abbreviations(
    never_final=words_of("dr prof mr mrs ms ing др проф д-р"), before_number=words_of("nr no")
)

ABBREVIATIONS: dict[str, Abbreviations] = {
    "en": _EN, "de": _DE, "lb": _DE, "fr": _FR, "es": _ES, "ca": _CA, "it": _IT, "pt": _PT,
    "nl": _NL, "ru": _RU, "uk": _UK, "pl": _PL, "cs": _CS, "sk": _CS, "sv": _SV, "da": _DA,
    "nb": _NB, "nn": _NB, "fi": _FI, "hu": _HU, "tr": _TR, "el": _EL, "ro": _RO,
    "hr": _HR, "sr": _SR, "sl": _SL, "bg": _BG, "lt": _LT, "lv": _LV, "et": _ET, "id": _ID,
    "hi": _HI,
    # No lists of their own, but ordinals are written so.
    "is": replace(_OTHERS, ordinals=True), "eu": replace(_OTHERS, ordinals=True),
}  # fmt: skip


def abbreviations_of(language: str) -> Abbreviations:
    """Return what is known of a language; a few titles, where it is not listed."""
    return ABBREVIATIONS.get(language, _OTHERS)
