"""What the reference answers with checkpoints as users have them: variants of the two small fixtures, and LoRA adapters over one of them.

    python variants.py ../../test/fixtures    # needs torch, transformers 5, peft, safetensors, pillow, numpy

Writes test/fixtures/variants: goldens.json, spaces.json, state.bin and adapters/NAME. The tests make each variant's folder by themselves, from the same change.
"""
import json, os, random, shutil, sys, tempfile
import numpy as np, torch
from PIL import Image
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, Florence2ForConditionalGeneration

fixtures = sys.argv[1]
PROMPTS = {'<OCR>': 'What is the text in the image?', '<OD>': 'Locate the objects with category name in the image.'}
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def answers(model, fixture, preprocess, max_new_tokens=24):
    """ids from the decoder start token, for each task, with the model's own generation settings."""
    folder = f'{fixtures}/{fixture}'
    tokenizer = AutoTokenizer.from_pretrained(f'{folder}/native')
    size = preprocess['size']['height']
    rgb = np.asarray(Image.open(f'{folder}/picture-0.png').convert('RGB').resize((size, size), Image.BICUBIC), dtype=np.float32)
    if preprocess.get('do_rescale', True): rgb = rgb * np.float32(1 / 255)
    if preprocess.get('do_normalize', True): rgb = (rgb - np.array(MEAN, np.float32)) / np.array(STD, np.float32)
    pixels = torch.from_numpy(rgb.transpose(2, 0, 1)[None].copy())
    out = {}
    for task, prompt in PROMPTS.items():
        ids = torch.tensor([[model.config.image_token_id] * preprocess['image_seq_length'] + tokenizer(prompt).input_ids])
        own = model.generation_config
        length = {} if own.max_new_tokens or own.max_length else {'max_new_tokens': max_new_tokens}
        with torch.no_grad():
            out[task] = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), pixel_values=pixels, **length)[0].tolist()
    return out


def load(folder):
    return Florence2ForConditionalGeneration.from_pretrained(folder, dtype=torch.float32, attn_implementation='eager').eval()


def read(file): return json.load(open(file))


GENERATION = {
    'greedy': dict(num_beams=1, no_repeat_ngram_size=0, early_stopping=False),
    'repetition_penalty': dict(repetition_penalty=1.4),
    'repetition_penalty, greedy': dict(repetition_penalty=1.4, num_beams=1),
    'min_length': dict(min_length=16),
    'min_new_tokens': dict(min_new_tokens=12, num_beams=2),
    'suppress_tokens': dict(suppress_tokens=[991, 1421]),
    'begin_suppress_tokens': dict(begin_suppress_tokens=[991, 707]),
    'bad_words_ids': dict(bad_words_ids=[[991], [1421, 1421]]),
    'max_new_tokens': dict(max_new_tokens=7),
    'max_length': dict(max_length=7),
    'length_penalty': dict(length_penalty=2.0, early_stopping=False),
    'eos_token_id': dict(eos_token_id=[2, 1421, 911]),
    'no forced tokens': dict(forced_bos_token_id=None, forced_eos_token_id=None),
}
PREPROCESS = {'do_normalize': dict(do_normalize=False), 'do_rescale': dict(do_rescale=False)}


def variants():
    src = f'{fixtures}/odd-windows/native'
    out = {'generation': {}, 'preprocess': {}, 'tables': {}}
    for kind, changes, file in (('generation', GENERATION, 'generation_config.json'), ('preprocess', PREPROCESS, 'preprocessor_config.json')):
        for name, change in changes.items():
            with tempfile.TemporaryDirectory() as folder:
                shutil.copytree(src, folder, dirs_exist_ok=True)
                changed = {k: v for k, v in {**read(f'{src}/{file}'), **change}.items() if v is not None}
                json.dump(changed, open(f'{folder}/{file}', 'w'))
                out[kind][name] = {'change': change, 'ids': answers(load(folder), 'odd-windows', read(f'{folder}/preprocessor_config.json'))}
    # Tables of their own: the encoder's is never read, because prompts are looked up in the shared one.
    scales = {'encoder.embed_tokens': 0.5, 'decoder.embed_tokens': 1.25, 'head': 0.75}
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(src, folder, dirs_exist_ok=True)
        state = load_file(f'{src}/model.safetensors')
        table = state['model.language_model.shared.weight'].float()
        for part in ('encoder', 'decoder'): state[f'model.language_model.{part}.embed_tokens.weight'] = table * scales[f'{part}.embed_tokens']
        state['lm_head.weight'] = table * scales['head']
        save_file(state, f'{folder}/model.safetensors', metadata={'format': 'pt'})
        out['tables'] = {'scales': scales, 'ids': answers(load(folder), 'odd-windows', read(f'{src}/preprocessor_config.json'))}
    return out


ADAPTERS = {
    'plain': dict(r=2, lora_alpha=4, target_modules=['q_proj', 'v_proj', 'fc2']),
    'stabilised': dict(r=2, lora_alpha=4, use_rslora=True, target_modules=['q_proj', 'out_proj'],
                       rank_pattern={'encoder.layers.0.self_attn.q_proj': 1}, alpha_pattern={'decoder.layers.1.self_attn.out_proj': 16}),
    'vision': dict(r=1, lora_alpha=4, target_modules=['qkv', 'conv', 'image_projection'], modules_to_save=['layernorm_embedding']),
}


def adapters(out):
    src, results = f'{fixtures}/even-windows/native', {}
    preprocess = read(f'{src}/preprocessor_config.json')
    for seed, (name, settings) in enumerate(ADAPTERS.items()):
        torch.manual_seed(seed)
        wrapped = get_peft_model(load(src), LoraConfig(**settings))
        for key, p in wrapped.named_parameters():
            if 'lora_' in key: p.data = torch.randn_like(p) * 0.2
            elif 'modules_to_save' in key: p.data += torch.randn_like(p) * 0.1
        folder = f'{out}/adapters/{name}'
        wrapped.save_pretrained(folder)
        os.remove(f'{folder}/README.md')
        config = read(f'{folder}/adapter_config.json')
        config['base_model_name_or_path'] = 'even-windows'
        json.dump(config, open(f'{folder}/adapter_config.json', 'w'), indent=1)
        merged = wrapped.eval().merge_and_unload()
        base, samples = load(src).state_dict(), {}
        for key, value in merged.state_dict().items():
            if torch.equal(value, base[key]) or len(samples) == 4: continue
            flat = value.flatten()
            at = [0, flat.numel() // 3, flat.numel() - 1]
            samples[key] = {'at': at, 'values': [flat[i].item() for i in at]}
        results[name] = {'samples': samples, 'ids': answers(merged, 'even-windows', preprocess)}
    return results


def pytorch_file(out):
    """A file of torch.save's with every way a tensor can lie in its storage, and the numbers it holds."""
    generator = torch.Generator().manual_seed(5)
    numbers = torch.randn(3, 4, generator=generator)
    shared = torch.arange(20, dtype=torch.float32)
    model = torch.nn.Linear(2, 3)
    state = {
        'float32': numbers, 'float16': numbers.half(), 'bfloat16': numbers.bfloat16(), 'transposed': numbers.t(),
        'permuted': torch.randn(2, 3, 4, generator=generator).permute(2, 0, 1), 'part': shared[5:11].view(2, 3), 'column': shared.view(4, 5)[:, 2],
        'parameter': torch.nn.Parameter(numbers * 2), 'scalar': torch.tensor(1.5), 'ids': torch.arange(3), 'empty': torch.zeros(0, 4), **model.state_dict(),
    }
    torch.save({'epoch': 3, 'loss': 0.25, 'done': True, 'name': None, 'state_dict': state}, f'{out}/state.bin')
    return {k: {'shape': list(v.shape), 'values': v.float().flatten().tolist()} for k, v in state.items() if k != 'ids'}


def spaces(out):
    """Ids of strings in which characters stand side by side that some call white space and some do not."""
    from tokenizers import Tokenizer
    tokenizer, choice = Tokenizer.from_file(f'{fixtures}/odd-windows/native/tokenizer.json'), random.Random(1)
    parts = [' ', '  ', '\ufeff', '\x85', '\u00a0', '\u3000', '\n', '\r\n', '\t', '\x1c', '\u200b', '\u180e', "'s", 'a', 'é', '1', '½', '!', '<loc_5>', '<mask>', '\u2028']
    strings = [''.join(choice.choice(parts) for _ in range(choice.randint(2, 8))) for _ in range(300)]
    json.dump([[s, tokenizer.encode(s).ids] for s in strings], open(f'{out}/spaces.json', 'w'))


out = f'{fixtures}/variants'
shutil.rmtree(f'{out}/adapters', ignore_errors=True)
goldens = {**variants(), 'adapters': adapters(out), 'pytorch': pytorch_file(out)}
spaces(out)
json.dump(goldens, open(f'{out}/goldens.json', 'w'))
