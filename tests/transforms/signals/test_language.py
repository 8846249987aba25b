import importlib
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.signals import language
from transforms.signals.language import UNDETERMINED, detect_languages

SENTENCES = {
    "ar": "هذه صورة لقطة صغيرة تجلس على الكرسي في الحديقة",
    "bn": "এটি একটি ছোট বিড়ালের ছবি যা বাগানে বসে আছে",
    "de": "Ein kleiner Junge spielt im Park mit einem roten Ball",
    "el": "Μια μικρή γάτα κάθεται στην καρέκλα του κήπου",
    "en": "A man in a blue shirt is standing on a ladder cleaning a window",
    "es": "Un hombre con camisa azul está limpiando una ventana de la casa",
    "fr": "Un homme en chemise bleue nettoie une fenêtre de la maison",
    "gsw": "Es Chind wo im Garte hocket und mit em Hund spielt, das isch schön gsi",
    "he": "חתול קטן יושב על הכיסא בגינה של הבית",
    "hi": "एक छोटी बिल्ली बगीचे में कुर्सी पर बैठी है",
    "it": "Un uomo con una camicia azzurra pulisce la finestra della casa",
    "ja": "青いシャツを着た男性が窓を掃除しています",
    "km": "បុរសម្នាក់កំពុងសម្អាតបង្អួចផ្ទះ",
    "ko": "파란 셔츠를 입은 남자가 창문을 닦고 있다",
    "pl": "Mężczyzna w niebieskiej koszuli myje okno w domu",
    "ru": "Мужчина в синей рубашке моет окно дома",
    "th": "ผู้ชายใส่เสื้อสีฟ้ากำลังทำความสะอาดหน้าต่าง",
    "tr": "Mavi gömlekli bir adam evin penceresini temizliyor",
    "uk": "Чоловік у синій сорочці миє вікно будинку",
    "vi": "Một người đàn ông mặc áo xanh đang lau cửa sổ",
    "zh": "一个穿蓝色衬衫的男人正在擦窗户",
}


@pytest.mark.parametrize("code", SENTENCES)
def test_languages_of_sentences(code: str) -> None:
    codes, confidences = detect_languages([SENTENCES[code]])
    assert codes == [code]
    assert 0.3 < confidences[0] <= 1


@pytest.mark.parametrize("text", ["", " \n\t", "12345", "!?…", "😀", "\ud800", "\x00"])
def test_a_text_without_letters_has_no_language(text: str) -> None:
    codes, confidences = detect_languages([text])
    assert codes == [UNDETERMINED]
    assert confidences[0] == 0


def test_line_ends_and_surrogates_are_no_obstacle() -> None:
    plain = SENTENCES["fr"]
    codes, confidences = detect_languages(
        [
            plain,
            plain.replace(" ", "\n"),
            plain.replace(" ", "\r\n"),
            plain + "\x00",
            "\ud800 " + plain,
        ]
    )
    assert codes == ["fr"] * 5
    assert confidences[0] == confidences[1]


def test_a_batch_is_its_texts() -> None:
    texts = list(SENTENCES.values())
    codes, confidences = detect_languages(texts)
    assert (confidences.shape, confidences.dtype) == ((len(texts),), "float32")
    for text, code, confidence in zip(texts, codes, confidences, strict=True):
        single_codes, single_confidences = detect_languages([text])
        assert (single_codes[0], single_confidences[0]) == (code, confidence)
    assert detect_languages([])[0] == []


@given(st.text(st.characters(exclude_categories=[])))
def test_any_string_has_a_language(text: str) -> None:
    codes, confidences = detect_languages([text])
    assert 2 <= len(codes[0]) <= 3
    assert 0 <= confidences[0] <= 1


def test_threads_share_one_quiet_model(capfd: pytest.CaptureFixture[str]) -> None:
    fresh = importlib.reload(language)
    texts = list(SENTENCES.values())
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(fresh.detect_languages, [texts] * 8))
    assert all(codes == list(SENTENCES) for codes, _ in results)
    assert fresh._load.cache_info().misses == 1
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")
