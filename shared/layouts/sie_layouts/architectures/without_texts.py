"""The values of `model_type` whose models in transformers take no token ids, or more than these.

*pure.* Data, so that `sie add` can tell without transformers. A test holds it to the library.
"""

from typing import Final

__all__ = ["MORE_THAN_TEXTS", "WITHOUT_TEXTS"]

WITHOUT_TEXTS: Final = frozenset({
    "aimv2_vision_model", "audio-spectrogram-transformer", "audioflamingo3_encoder", "autoformer",
    "beit", "bit", "blip_2_qformer", "chinese_clip_vision_model", "clip_vision_model",
    "cohere_compass_vision", "conditional_detr", "convnext", "convnextv2", "cosmos3_edge_vision",
    "cvt", "d_fine", "dab-detr", "dac", "data2vec-audio", "data2vec-vision", "decision_transformer",
    "deformable_detr", "deimv2", "deit", "depth_pro", "detr", "dinat", "dinov2",
    "dinov2_with_registers", "dinov3_convnext", "dinov3_vit", "donut-swin", "dpt", "edgetam",
    "edgetam_video", "edgetam_vision_model", "efficientloftr", "efficientnet", "encodec",
    "exaone4_5_vision", "focalnet", "fun_asr_nano_encoder", "gemma3n_audio", "gemma4_audio",
    "gemma4_vision", "glm4v_moe_vision", "glm4v_vision", "glm5_next_vision", "glm_image_vision",
    "glm_ocr_vision", "glmasr_encoder", "glpn", "granite_docling_vision", "granite_speech5_ctc",
    "granite_speech5_encoder", "hgnet_v2", "hiera", "higgs_audio_v2_tokenizer", "hubert",
    "hunyuan_vl_vision", "idefics3_vision", "ijepa", "informer", "inkling2_vision",
    "internvl_vision", "kimi_k25_vision", "lasr_ctc", "lasr_encoder", "levit", "lfm3_vl_vision",
    "lightglue", "lw_detr", "mask2former", "maskformer", "maskformer-swin", "mgp-str", "mimi",
    "mimi_decoder", "mimi_encoder", "minicpm_ocr_vision", "minicpmv4_7_vision", "mlcd",
    "mlcd_vision_model", "mobilenet_v1", "mobilenet_v2", "mobilevit", "mobilevitv2",
    "moss_transcribe_diarize_audio", "muse_glimmer_assistant", "muse_glimmer_vision",
    "muse_spark_audio", "muse_spark_vision", "nemotron3_5_transcribe_asr_audio",
    "nemotron3_5_transcribe_audio", "nemotron3_5_transcribe_word_timestamp",
    "nemotron3_diarization", "nemotron3_diarization_audio", "nemotron_asr_streaming_encoder",
    "neucodec", "oneformer", "parakeet_ctc", "parakeet_encoder", "patchtsmixer", "patchtst",
    "pe_audio_encoder", "pe_audio_video_encoder", "pe_video_encoder", "perceiver", "pixio",
    "pixtral", "pocket_tts_audio_tokenizer", "pocket_tts_audio_tokenizer_decoder",
    "pocket_tts_audio_tokenizer_encoder", "poolformer", "pp_doclayout_v3", "pp_doclayout_v4",
    "pp_ocrv5_mobile_rec", "pp_ocrv5_server_rec", "pp_ocrv6_medium_det", "pp_ocrv6_small_det",
    "pp_ocrv6_small_rec", "pp_ocrv6_tiny_rec", "pvt", "pvt_v2", "qianfan_ocr_vision",
    "qwen2_5_vl_vision", "qwen2_audio_encoder", "qwen3_5_moe_vision", "qwen3_5_vision",
    "qwen3_asr_encoder", "qwen3_vl_moe_vision", "qwen3_vl_vision", "qwen4_exp_vision", "radio",
    "regnet", "resnet", "rf_detr", "rt_detr", "rt_detr_v2", "sam", "sam2", "sam2_hiera_det_model",
    "sam2_video", "sam2_vision_model", "sam3_tracker", "sam3_tracker_video", "sam3_video",
    "sam3_vision_model", "sam3_vit_model", "sam_hq", "sam_hq_vision_model", "sam_vision_model",
    "sapiens2", "segformer", "seggpt", "sew", "sew-d", "siglip2_vision_model",
    "siglip_vision_model", "smolvlm_vision", "speecht5", "swiftformer", "swin", "swin2sr", "swinv2",
    "table-transformer", "textnet", "time_series_transformer", "timesfm", "timesfm2_5",
    "timesformer", "timm_backbone", "timm_wrapper", "tipsv2_vision_model", "unispeech",
    "unispeech-sat", "univnet", "uvdoc", "vibevoice_acoustic_tokenizer",
    "vibevoice_acoustic_tokenizer_decoder", "vibevoice_acoustic_tokenizer_encoder",
    "video_llama_3_vision", "videomae", "videoprism_vision_model", "vit", "vit_mae", "vit_msn",
    "vitdet", "vivit", "vjepa2", "voxtral_encoder", "voxtral_realtime_encoder", "wav2vec2",
    "wav2vec2-bert", "wav2vec2-conformer", "wavlm", "xcodec", "xcodec2", "yolos",
})  # fmt: skip
"""Types whose own forward has no place for token ids."""
MORE_THAN_TEXTS: Final = frozenset({"bros", "dpr", "layoutlmv2", "lxmert"})
"""Types whose forward has one and fails without boxes or images, and one that gives no states."""
